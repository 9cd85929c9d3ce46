from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.cluster.hierarchy import linkage
from torch import Tensor

from diptych.backbones.mask_models.merged_cells import MergedCells, cell_vectors
from diptych.core import UsageError
from tests.support.backbone import SmallBackbone
from tests.support.mask_models import quarters


def iou(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / torch.maximum(a, b).sum())


def test_even_parts_of_a_picture_are_proposed() -> None:
    proposals = MergedCells(side=24, count=12, finest=4).propose(quarters())
    for row, column in np.ndindex(2, 2):
        truth = torch.zeros(proposals.masks.shape[1:])
        truth[8 * row : 8 * row + 8, 12 * column : 12 * column + 12] = 1
        assert max(iou(mask, truth) for mask in proposals.masks) > 0.99
    assert proposals.size == (32, 48)
    areas = proposals.masks.flatten(1).sum(1)
    assert (areas[1:] <= areas[:-1]).all()


def test_merges_are_wards_where_every_pair_may_merge() -> None:
    # In a picture of one row, neighbours are the only pairs; with distinct steps, Ward's order is that of the tree.
    image = Image.fromarray(np.array([[0, 10, 100, 112, 250]], dtype=np.uint8)).convert("RGB")
    proposals = MergedCells(side=5, count=9, finest=5, least=0.01, most=1.0).propose(image)
    tree = linkage(cell_vectors(image, 5).reshape(5, -1), "ward")
    sets: list[frozenset[int]] = [frozenset((i,)) for i in range(5)]
    for a, b, *_ in tree:
        sets.append(sets[int(a)] | sets[int(b)])
    assert {frozenset(np.flatnonzero(m.numpy().ravel()).tolist()) for m in proposals.masks} == set(sets)


def test_the_finest_cut_covers_the_picture_once() -> None:
    proposals = MergedCells(side=16, count=1, finest=6, least=0.9, most=0.9).propose(quarters())
    assert torch.equal(proposals.masks.sum(0), torch.ones(proposals.masks.shape[1:]))
    assert len(proposals) == 6


def test_one_pixel_and_one_colour_are_pictures_too() -> None:
    assert len(MergedCells().propose(Image.new("RGB", (1, 1)))) == 1
    assert len(MergedCells().propose(Image.new("RGB", (40, 3)))) > 0


@pytest.mark.parametrize("wrong", [{"side": 1}, {"count": 0}, {"least": 0.0}, {"least": 0.5, "most": 0.1}])
def test_numbers_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        MergedCells(**wrong)


class Stripes(SmallBackbone):
    """Its features tell left from right, where the colours are one."""

    def dense(self) -> Any:
        return StripesDense()


class StripesDense:
    strides = (8,)

    def maps(self, x: Tensor, /) -> list[Tensor]:
        m = torch.zeros(1, 3, x.shape[2] // 8, x.shape[3] // 8)
        m[:, 0, :, m.shape[3] // 2 :] = 1.0
        return [m]


def test_features_of_an_encoder_join_the_colours() -> None:
    picture = Image.new("RGB", (64, 32), "grey")
    plain, seen = (MergedCells(side=16, count=1, finest=2, encoder=e, pixels=64) for e in (None, Stripes()))
    left = torch.zeros(8, 16)
    left[:, :8] = 1
    assert max(iou(m, left) for m in seen.propose(picture).masks) > 0.9
    assert max(iou(m, left) for m in plain.propose(picture).masks) < 0.9
    assert plain.fingerprint != seen.fingerprint
    assert torch.equal(seen.propose(picture).masks, seen.propose(picture).masks)
    with pytest.raises(UsageError, match="weight"):
        MergedCells(weight=0.0)
