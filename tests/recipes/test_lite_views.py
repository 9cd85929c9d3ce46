"""Views keep size and type, change the picture, and follow from the generator; crops and drawings are laid as asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recipes.lite_views import VIEWS, Picture, any_view, crop, edges, low_resolution, placed


@pytest.fixture
def picture() -> Picture:
    """A dark disc on a light gradient, (64, 64, 3)."""
    y, x = np.mgrid[:64, :64]
    ground = np.stack([150 + x, 160 + y, 200 + 0 * x], -1).astype(np.uint8)
    return np.where(((x - 30) ** 2 + (y - 34) ** 2 < 300)[..., None], np.uint8(30), ground)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_keeps_the_size_changes_the_picture_and_follows_the_seed(name: str, picture: Picture) -> None:
    view = VIEWS[name][1]
    kept = picture.copy()
    first, again = (view(picture, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == picture.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, picture)
    assert np.array_equal(picture, kept)
    assert any(not np.array_equal(first, view(picture, np.random.default_rng(s))) for s in range(4, 8))


def test_shares_sum_to_one_and_every_seed_gives_a_view(picture: Picture) -> None:
    assert sum(share for share, _ in VIEWS.values()) == pytest.approx(1)
    for seed in range(20):
        assert any_view(picture, np.random.default_rng(seed)).shape == picture.shape


def test_few_pixels_have_few_values(picture: Picture) -> None:
    """Made of 4 x 4 pixels, a picture has far less detail: neighbours differ less."""
    low = low_resolution(picture, np.random.default_rng(0), side=4).astype(float)
    assert np.abs(np.diff(low, axis=1)).max() < 0.5 * np.abs(np.diff(picture.astype(float), axis=1)).max()


def test_edges_lie_on_the_rim_of_the_disc(picture: Picture) -> None:
    drawn = edges(picture, np.random.default_rng(1)).astype(float).mean(-1)
    drawn = 255 - drawn if np.median(drawn) > 128 else drawn
    y, x = np.mgrid[:64, :64]
    r = np.hypot(x - 30, y - 34)
    rim = drawn[(r > 14) & (r < 21)].mean()
    assert rim > 5 * drawn[r < 10].mean() + 10


@pytest.mark.parametrize("size", [(300, 200), (50, 400), (64, 64)])
def test_crops_have_the_asked_side(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 50).convert("RGB")
    assert crop(image, 48, np.random.default_rng(0)).shape == (48, 48, 3)


def test_ink_contrasts_with_its_ground_and_colours_stay() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = (200, 10, 10, 255)
    behind = np.full((64, 64, 3), 90, np.uint8)
    for seed in range(40):
        inked = placed(rgba, True, behind, np.random.default_rng(seed)).astype(float).mean(-1)
        assert np.ptp(inked) > 20
        coloured = placed(rgba, False, behind, np.random.default_rng(seed)).reshape(-1, 3).astype(int)
        assert (np.abs(coloured - np.array([200, 10, 10])).sum(1) < 12).sum() > 100
