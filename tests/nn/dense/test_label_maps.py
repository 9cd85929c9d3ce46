from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.core import PixelRecipe, Regions, Scores, UsageError
from diptych.nn.dense import label_maps as dense
from diptych.nn.dense.label_maps import (
    Windows,
    bounded_size,
    cells,
    dense_map,
    label_map,
    labelled,
    resized,
    shared_out,
    slide,
    squashed,
    upsampled,
)

RECIPE = PixelRecipe(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def noise(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("length", "window", "stride", "spans"),
    [
        (448, 448, 224, [(0, 448)]),
        (300, 448, 224, [(0, 300)]),
        (449, 448, 224, [(0, 448), (1, 449)]),
        (672, 448, 224, [(0, 448), (224, 672)]),
        (673, 448, 224, [(0, 448), (224, 672), (225, 673)]),
    ],
)
def test_the_last_window_slides_back(length: int, window: int, stride: int, spans: list[tuple[int, int]]) -> None:
    assert Windows(448, window, stride).spans(length) == spans


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [((213, 320), 448, (448, 673)), ((100, 1000), 448, (205, 2048)), ((448, 448), 448, (448, 448))],
)
def test_the_resize_keeps_the_ratio_within_two_bounds(
    size: tuple[int, int], short: int, expected: tuple[int, int]
) -> None:
    assert bounded_size(*size, short) == expected
    assert bounded_size(*size[::-1], short) == expected[::-1]


def test_a_strip_keeps_a_row_of_pixels() -> None:
    assert bounded_size(1, 100_000, 448) == (1, 2048)


@pytest.mark.parametrize("short", [9, 40])
def test_the_resize_equals_bilinear_by_hand_without_antialias(short: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    got = resized(Image.fromarray(picture), short)
    height, width = got.shape[1:]
    expected = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y, x = max((i + 0.5) * 20 / height - 0.5, 0), max((j + 0.5) * 30 / width - 0.5, 0)
            a, b = int(y), int(x)
            rows, columns = (a, min(a + 1, 19)), (b, min(b + 1, 29))
            weights = np.outer([1 - (y - a), y - a], [1 - (x - b), x - b])
            expected[i, j] = sum(weights[p, q] * picture[rows[p], columns[q]] for p in (0, 1) for q in (0, 1))
    assert np.abs(got.permute(1, 2, 0).numpy() * 255 - expected).max() <= 1
    assert torch.equal(got * 255, (got * 255).round())


def test_windows_are_averaged_by_visits() -> None:
    """A model that returns the window's mean: each pixel gets the mean over the windows that saw it."""
    image, windows = noise(3, 40, 56), Windows(40, 32, 16)

    def scores(x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1).expand(-1, 2, 2, 2)

    got = slide(image, windows, RECIPE, 8, scores)
    total, visits = np.zeros((40, 56)), np.zeros((40, 56))
    for top in (0, 8):
        for left in (0, 16, 24):
            total[top : top + 32, left : left + 32] += image[:, top : top + 32, left : left + 32].mean().item()
            visits[top : top + 32, left : left + 32] += 1
    np.testing.assert_allclose(got[1].numpy(), total / visits, rtol=1e-5, atol=1e-6)


def test_windows_are_padded_black_right_and_below_and_normalised() -> None:
    seen = []

    def scores(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1, ::8, ::8]

    recipe = replace(RECIPE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    got = slide(torch.ones(3, 20, 13), Windows(64, 64, 64), recipe, 8, scores)
    (x,) = seen
    assert x.shape == (1, 3, 24, 16)
    assert x[..., :20, :13].unique().tolist() == [2.0]
    assert x[..., 20:, :].unique().tolist() == x[..., 13:].unique().tolist()[:1] == [-2.0]
    assert got.shape == (1, 20, 13)


@pytest.mark.parametrize("size", [(50, 31), (6, 9), (3, 4)])
def test_upsampling_in_strips_is_upsampling(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    maps = noise(4, 6, 9)
    whole = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    strips = torch.cat([upsampled(maps, *size, i, i + 1) for i in range(size[0])], dim=1)
    torch.testing.assert_close(strips, whole)
    monkeypatch.setattr(dense, "CELLS", 5 * 4 * size[1])
    assert torch.equal(label_map(cells(maps, size)), whole.argmax(0))


def test_masks_are_combined_per_pixel_and_void_speaks_for_no_class() -> None:
    probabilities, masks = noise(5, 3).softmax(1), noise(5, 4, 6).sigmoid()
    scores = Scores(probabilities[:, :2].log(), "log_prob")  # the last column is void
    regions = Regions(scores, (8, 12), (4, 6), masks)
    expected = np.zeros((2, 4, 6))
    for q in range(5):
        for c in range(2):
            expected[c] += probabilities[q, c].item() * masks[q].numpy()
    np.testing.assert_allclose(dense_map(regions).numpy(), expected, rtol=1e-5)
    assert label_map(regions).shape == (8, 12)
    with pytest.raises(UsageError, match="log_prob"):
        dense_map(replace(regions, scores=Scores(probabilities, "logit")))


def test_background_words_are_merged_after_the_softmax_and_uncertain_pixels_join_them() -> None:
    maps = torch.tensor(
        [[[2.0, 0.0, 0.0]], [[0.0, 3.0, 0.1]], [[1.0, 1.0, 0.2]]]
    )  # sky, wall, cat; one row of three pixels
    regions = cells(maps, (1, 3))
    assert labelled(regions, groups=(0, 0, 1))[0].tolist() == [[0, 0, 1]]
    best = maps.softmax(0).amax(0)[0]
    assert best[2] < 0.5 < best[0]
    assert labelled(regions, groups=(0, 0, 1), threshold=0.5)[0].tolist() == [[0, 0, 0]]
    assert labelled(regions, groups=(1, 1, 2), background=0, threshold=0.9)[0].tolist() == [[0, 0, 0]]
    assert labelled(regions, threshold=0.0)[0].tolist() == label_map(regions).tolist()


def test_masks_that_overlap_are_no_surer_than_the_surest_of_them() -> None:
    """Three masks lie over the first cell, one over half of the second: votes add up to 2.1, and 0.35."""
    masks = torch.tensor([[[1.0, 0.5]], [[1.0, 0.0]], [[1.0, 0.0]]])
    scores = Scores(torch.tensor([[0.7, 0.2], [0.8, 0.1], [0.6, 0.3]]).log(), "log_prob")
    regions = Regions(scores, (1, 2), (1, 2), masks)
    labels, sure = labelled(regions)
    assert labels.tolist() == [[0, 0]]
    torch.testing.assert_close(sure, torch.tensor([[0.7, 0.35]]))
    assert labelled(regions, (1, 2), threshold=0.75)[0].tolist() == [[0, 0]]
    assert labelled(regions, (1, 2), threshold=0.65)[0].tolist() == [[1, 0]]


def test_a_threshold_needs_probabilities() -> None:
    regions = replace(cells(noise(2, 3, 3), (3, 3)), scores=Scores(noise(9, 2), "cosine"))
    with pytest.raises(UsageError, match="cosines"):
        labelled(regions, threshold=0.5)


def test_cells_keep_their_place() -> None:
    maps = noise(4, 6, 9)
    assert torch.equal(dense_map(cells(maps, (12, 18))), maps)


def test_windows_refuse_nothing() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Windows(stride=0)


def test_a_squashed_image_keeps_its_borders() -> None:
    recipe = replace(RECIPE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop=0.5)
    image = Image.new("RGB", (60, 20), "white")
    image.paste("black", (0, 0, 6, 20))
    x = squashed(image, recipe)
    assert x.shape == (1, 3, 16, 16)
    assert x[0, 0, 8, 0] < -0.5
    assert x[0, 0, 8, -1] == 1.0
    assert squashed(image, recipe, 24).shape == (1, 3, 24, 24)


def test_masks_share_a_pixel_and_end() -> None:
    out = shared_out(torch.tensor([[[0.05, 0.8]], [[0.5, 0.8]]]), 0.1)
    torch.testing.assert_close(out, torch.tensor([[[0.0, 0.5]], [[0.5, 0.5]]]))
