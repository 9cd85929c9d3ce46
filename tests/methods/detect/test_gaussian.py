from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf
from torch.nn.functional import normalize

from diptych.core import DataError, Evidence, Kit, Run, Table
from diptych.features.embed import embed
from diptych.methods.detect.gaussian import Gaussian
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures
from tests.support.scratches import scratched


@pytest.mark.parametrize("count", [8, 60])  # fewer photos than dimensions (16), and more
def test_scores_equal_scikit_learns_shrunk_mahalanobis(count: int) -> None:
    backbone, train, test = SmallBackbone(), scratched(count, 0, seed=1), scratched(5, 5, seed=2)
    fitted = Gaussian().fit(Kit({"main": backbone}), Evidence(train=train), Run())
    z = normalize(embed(backbone.image, train.items, Run()), dim=-1).double().numpy()
    oracle = LedoitWolf().fit(z)
    expected = oracle.mahalanobis(normalize(embed(backbone.image, test.items, Run()), dim=-1).double().numpy())
    found = [a.score for a in fitted.detect(test.items, Run())]
    np.testing.assert_allclose(np.square(found), expected, rtol=1e-5)


def test_the_mean_is_at_distance_zero_and_scratches_rank_higher() -> None:
    backbone = SmallBackbone()
    fitted = Gaussian().fit(Kit({"main": backbone}), Evidence(train=scratched(20, 0, seed=1)), Run())
    from diptych.methods.detect.gaussian import mahalanobis

    assert float(mahalanobis(fitted.mean[None], fitted.mean, fitted.directions, fitted.variances, fitted.rest)) == 0.0
    found = [a.score for a in fitted.detect(scratched(5, 5, seed=4).items, Run())]
    assert max(found[:5]) < min(found[5:])
    assert all(a.map is None for a in fitted.detect(scratched(1, 0, seed=4).items, Run()))


def test_one_photo_has_no_spread() -> None:
    photos = Pictures((Image.new("RGB", (20, 20), "blue"),) * 3)
    with pytest.raises(DataError, match="no spread"):
        Gaussian().fit(Kit({"main": SmallBackbone()}), Evidence(train=Table(photos)), Run())
    assert torch.is_grad_enabled()
