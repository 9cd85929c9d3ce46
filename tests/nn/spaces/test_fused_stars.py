"""A classifier of stars by all modalities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.core import DataError, Kit, Parts
from diptych.data.stars import Star
from diptych.features import portable
from diptych.features.spaces import StoredSpace
from diptych.nn.spaces.fused_stars import FusedStars
from tests.nn.spaces.test_star_space import space
from tests.support.stars import star

HEAD = {"weight": torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), "bias": torch.tensor([0.0, 1.0, 2.0])}


def test_logits_are_those_of_the_mean_of_unit_embeddings() -> None:
    base, stars = space(), [star(0), star(1)]
    fused = FusedStars.of_released(base, HEAD, "a file")
    encoder = fused.encoders[fused.labelled]
    with torch.no_grad():
        every = [e.encode(e.inputs(stars)) for e in base.encoders.values()]
        mean = sum(v / torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in every) / 3
        vectors = encoder.encode(encoder.inputs(stars))
    torch.testing.assert_close(vectors, mean)
    torch.testing.assert_close(fused.class_logits(vectors), mean @ HEAD["weight"].T + HEAD["bias"])
    assert (encoder.dim, fused.spec.name, fused.module().out_features) == (8, "astrom3+fused", 3)
    with pytest.raises(DataError, match="A star has no light curve"):
        encoder.inputs([Star()])


def test_it_is_kept_and_comes_back(tmp_path: Path) -> None:
    fused = FusedStars.of_released(space(), HEAD, "a file")
    portable.save(StoredSpace(fused), tmp_path / "fused")
    again = portable.load(tmp_path / "fused", Kit()).space
    assert again.fingerprint == fused.fingerprint
    assert torch.equal(again.class_logits(torch.ones(1, 8)), fused.class_logits(torch.ones(1, 8)))
    with pytest.raises(DataError, match="name no space of towers"):
        FusedStars.of_parts(Parts(None, {"classes": 3}, {}))


def test_a_head_that_does_not_fit_is_refused() -> None:
    for state, says in (({"bias": HEAD["bias"]}, r"1 missing \(weight\)"), ({**HEAD, "more": HEAD["bias"]}, "more")):
        with pytest.raises(DataError, match=says):
            FusedStars.of_released(space(), state, "a file")
