from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.core import Evidence, Kit, MissingHook, Run, Table
from diptych.methods.detect.feature_memory import (
    ROWS,
    FeatureMemory,
    FittedFeatureMemory,
    cell_features,
    nearest_distance,
)
from tests.support.backbone import SmallBackbone
from tests.support.dense_colours import DenseColours
from tests.support.refused import refused
from tests.support.scratches import scratched


class TwoMaps:
    """Maps of strides 4 and 8."""

    strides = (4, 8)

    def maps(self, x: torch.Tensor, /) -> list[torch.Tensor]:
        return [F.avg_pool2d(x, 4), F.avg_pool2d(x, 8)]

    def pool(self, m: torch.Tensor, weights: torch.Tensor | None = None, /) -> torch.Tensor:
        raise NotImplementedError

    def project(self, pooled: torch.Tensor, /) -> torch.Tensor:
        raise NotImplementedError


def fit(method: FeatureMemory, seed: int = 0) -> FittedFeatureMemory:
    return method.fit(Kit({"main": DenseColours()}), Evidence(train=scratched(6, 0, seed=1)), Run(seed=seed))


def test_the_distance_equals_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    g = torch.Generator().manual_seed(0)
    z, memory = (F.normalize(torch.randn(n, 7, generator=g), dim=1) for n in (30, 50))
    theirs = NearestNeighbors(n_neighbors=1, metric="cosine").fit(memory.numpy()).kneighbors(z.numpy())[0][:, 0] / 2
    np.testing.assert_allclose(nearest_distance(z, memory).numpy(), theirs, atol=1e-6)


def test_a_large_memory_is_compared_in_parts_with_the_same_result() -> None:
    g = torch.Generator().manual_seed(0)
    z, memory = (F.normalize(torch.randn(n, 5, generator=g), dim=1) for n in (9, 2 * ROWS + 3))
    expected = (1 - (z.double() @ memory.double().T).amax(1)) / 2
    torch.testing.assert_close(nearest_distance(z, memory).double(), expected, atol=1e-6, rtol=0)
    assert nearest_distance(memory[-1:], memory).item() == pytest.approx(0, abs=1e-6)  # the last part counts


def test_features_are_unit_and_chosen_by_stride() -> None:
    x = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)) + 0.1
    both = cell_features(TwoMaps(), x, (4, 8))
    assert both.shape == (4, 6, 6)
    torch.testing.assert_close(both.norm(dim=-1), torch.ones(4, 6))
    assert cell_features(TwoMaps(), x, (8,)).shape == (2, 3, 3)
    assert torch.equal(
        cell_features(TwoMaps(), x, (16,)), cell_features(TwoMaps(), x, (8,))
    )  # none of them: the last map
    corner = F.avg_pool2d(x, 8)[0, :, :2, :2].mean((1, 2))  # a corner has four cells in its 3 x 3
    torch.testing.assert_close(cell_features(TwoMaps(), x, (8,))[0, 0], F.normalize(corner, dim=0))


def test_scratches_are_found_where_they_are() -> None:
    table = scratched(3, 3, seed=5)
    found = list(fit(FeatureMemory(side=40)).detect(table.items, Run()))
    assert max(a.score for a in found[:3]) < min(a.score for a in found[3:])
    for a, mask in list(zip(found, table.columns["mask"].values, strict=True))[3:]:
        assert a.map is not None
        assert a.score == float(a.map.max())
        values = F.interpolate(a.map[None, None], mask.shape, mode="bilinear")[0, 0].numpy()
        assert values[mask].mean() > 5 * values[~mask].mean()


def test_a_photo_that_is_remembered_whole_is_at_distance_zero() -> None:
    table = scratched(2, 0, seed=3)
    fitted = FeatureMemory().fit(Kit({"main": DenseColours()}), Evidence(train=Table(table.items)), Run())
    assert all(abs(a.score) < 1e-6 for a in fitted.detect(table.items, Run()))


def test_memory_is_bounded_and_drawn_by_the_seed() -> None:
    small = FeatureMemory(cells=12, side=40)
    assert fit(small).memory.shape[0] == 12
    assert fit(FeatureMemory(cells=4, side=40)).memory.shape[0] == 4  # fewer than photos: one cell of each of the first
    assert torch.equal(fit(small, 3).memory, fit(small, 3).memory)
    assert not torch.equal(fit(small, 3).memory, fit(small, 4).memory)


def test_anomalous_train_photos_are_not_remembered() -> None:
    mixed = scratched(4, 4, seed=8)
    only = mixed.take(range(4))
    a, b = (
        FeatureMemory(side=40).fit(Kit({"main": DenseColours()}), Evidence(train=t), Run()).memory
        for t in (mixed, only)
    )
    assert torch.equal(a, b)


def test_what_cannot_be_is_refused() -> None:
    refused(FeatureMemory, {"cells": 0}, {"strides": ()}, {"strides": (0,)}, {"side": 0})
    with pytest.raises(MissingHook, match="dense maps"):
        FeatureMemory().fit(Kit({"main": SmallBackbone()}), Evidence(train=scratched(2, 0, seed=1)), Run())
