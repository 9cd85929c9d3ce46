from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.dense import weighted_mean
from diptych.core import ClassNames, Run
from diptych.nn.dense.label_maps import dense_map
from diptych.nn.dense.mask_classes import (
    _cut_out,
    crop_embeddings,
    fused,
    inside_cells,
    mask_regions,
    pooled_embeddings,
    whole_cells,
    word_probabilities,
)
from diptych.nn.dense.mask_training import words_of
from tests.support.colours import COLOURS, ColourEncoder
from tests.support.dense_colours import ColourDense, DenseColours, halves


def test_the_geometric_mean_by_loops() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.dirichlet(np.ones(3), 4), rng.dirichlet(np.ones(3), 4)
    a = np.array([0.4, 0.8, 0.8])
    expected = one ** (1 - a) * two**a
    expected /= expected.sum(1, keepdims=True)
    got = fused(*(torch.from_numpy(x) for x in (one, two, a)))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_ends_are_the_classifiers_themselves_and_zeros_are_no_nan() -> None:
    one, two = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.25, 0.75]])
    torch.testing.assert_close(fused(one, two, torch.tensor([0.0, 0.0])), one)
    torch.testing.assert_close(fused(one, two, torch.tensor([1.0, 1.0])), two)
    assert torch.isfinite(fused(one, torch.tensor([[1.0, 0.0]]), torch.tensor([0.5, 0.5]))).all()


def test_cells_are_pooled_before_they_are_projected() -> None:
    m = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    masks = torch.randn(1, 2, 8, 10, generator=torch.Generator().manual_seed(1))
    inside = inside_cells(masks, (4, 5))
    assert set(torch.unique(inside).tolist()) <= {0.0, 1.0}
    got = pooled_embeddings(ColourDense(), m, inside)
    for q in range(2):
        cells = m[0][:, inside[0, q] > 0].mean(1)
        want = ColourDense().project(cells)
        torch.testing.assert_close(got[0, q], want / want.norm(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weighted_mean(m, inside)[0, 0], m[0][:, inside[0, 0] > 0].mean(1))


def test_images_become_whole_cells() -> None:
    assert whole_cells(Image.new("RGB", (100, 61)), 50, 16).shape == (3, 48, 80)
    assert whole_cells(Image.new("RGB", (5, 5)), 4, 32).shape == (3, 32, 32)
    assert whole_cells(Image.new("RGB", (64, 32)), 32, 32).shape == (3, 32, 64)


def test_the_longer_side_is_bounded_as_published() -> None:
    """A photo of 960 x 400 at a shorter side of 800 would be 1920 wide: it becomes 1333 x 555, in cells of 32."""
    assert whole_cells(Image.new("RGB", (960, 400)), 800, 32).shape == (3, 544, 1344)
    assert whole_cells(Image.new("RGB", (960, 400)), 800, 32, 2560).shape == (3, 800, 1920)


class PixelEncoder(ColourEncoder):
    """Takes pixels where the other takes their means."""

    def encode(self, x: Any, /) -> torch.Tensor:
        return super().encode(x.mean(dim=(2, 3)))


class PixelColours(DenseColours):
    @property
    def encoders(self) -> Mapping[str, Any]:
        return {**super().encoders, "image": PixelEncoder("image", 8)}


def test_a_crop_holds_its_mask_alone() -> None:
    backbone = PixelColours()
    x = torch.from_numpy(np.asarray(halves("red", "blue"), dtype=np.float32) / 255).permute(2, 0, 1)
    masks = torch.zeros(3, *x.shape[1:], dtype=torch.bool)
    masks[0, :, :28], masks[1, :, 32:] = True, True
    got = crop_embeddings(backbone, x, masks)
    for q, name in ((0, "red"), (1, "blue")):
        colour = torch.tensor(COLOURS[name]).float() / 255
        want = torch.cat([colour - colour.mean(), torch.tensor([0.05])])
        torch.testing.assert_close(got[q], want / want.norm(), atol=1e-2, rtol=0)
    assert torch.isfinite(got).all()  # the last mask is empty


def test_the_box_of_a_crop_ends_with_its_mask() -> None:
    x, mask = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.zeros(9, 9, dtype=torch.bool)
    mask[2:6, 3:7] = True
    part = _cut_out(x, mask, replace(PixelColours().spec.pixels, size=4))
    torch.testing.assert_close(part, x[:, 2:6, 3:7])


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_the_best_word_of_a_class_counts_before_the_softmax(score: str) -> None:
    backbone = DenseColours(score)
    seats = ClassNames(("warm", "blue"), ("{}",), words=(("pink", "red"), ("blue",)))
    words = words_of(backbone, seats, Run())
    u = words.vectors[[1]]  # red itself
    scale, bias = backbone.scale()
    raw = scale * (u @ words.vectors.T) + bias
    expected = torch.stack([raw[:, :2].amax(1), raw[:, 2]], dim=1).softmax(-1)
    torch.testing.assert_close(word_probabilities(backbone, u, words), expected)
    assert words.owner.tolist() == [0, 0, 1]


def test_regions_leave_the_rest_to_void() -> None:
    p, void = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0.2, 1.0])
    found = mask_regions(p, void, torch.zeros(2, 3, 4), (6, 8), (True, False))
    torch.testing.assert_close(found.scores.values.exp(), torch.tensor([[0.4, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(dense_map(found), torch.full((2, 3, 4), 0.2))
    assert (found.size, found.grid, found.things) == ((6, 8), (3, 4), (True, False))
