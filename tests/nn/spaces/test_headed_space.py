from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from diptych.core import DataError, Parts, Run
from diptych.features.embed import embed
from diptych.features.spaces import load_space, save_space
from diptych.nn.spaces.headed_space import INVERSE_PENALTY, HeadedSpace
from tests.nn.spaces.test_star_space import space
from tests.support.stars import labelled


def test_the_head_is_logistic_regression_and_is_kept_with_the_space(tmp_path: Path) -> None:
    stars, table = space(), labelled(16)
    headed = HeadedSpace.fit(stars, "spectra", table, 2, Run())
    vectors = embed(stars.encoders["spectra"], table.items, Run())
    z, y = normalize(vectors, dim=-1).double().numpy(), table.labels()
    # two rows w/2 and -w/2 in the place of w have half of its penalty
    oracle = LogisticRegression(C=2 * INVERSE_PENALTY, tol=1e-10, max_iter=10000).fit(z, y).predict_proba(z)
    torch.testing.assert_close(
        headed.class_logits(vectors).softmax(1).double(), torch.from_numpy(oracle), atol=1e-4, rtol=0
    )
    assert (headed.spec.name, headed.score, headed.labelled) == ("astrom3+labels", "softmax", "spectra")
    assert headed.encoders is stars.encoders
    save_space(headed, tmp_path / "headed")
    again = load_space(tmp_path / "headed")
    assert isinstance(again, HeadedSpace)
    assert torch.equal(again.class_logits(vectors), headed.class_logits(vectors))
    assert not again.module().training
    assert again.scale("photometry", "spectra")[0] == stars.scale()[0]


def test_a_head_without_its_space_is_refused() -> None:
    headed = HeadedSpace.fit(space(), "metadata", labelled(8), 2, Run())
    own = headed.parts()
    for parts in (
        Parts(None, own.settings, own.tensors),
        Parts(own.base, {**own.settings, "labelled": "x"}, own.tensors),
    ):
        with pytest.raises(DataError, match="a space that is missing"):
            HeadedSpace.of_parts(parts)
