from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from diptych.core import UsageError
from diptych.tasks.pages.overlay import label_png, overlay, palette, png

LABELS = np.repeat(np.arange(3), 10).reshape(3, 10)


def test_neighbouring_colours_are_far_apart_and_the_background_is_black() -> None:
    colours = palette(255)
    assert len(set(colours)) == 255
    steps = np.abs(np.diff(np.array(colours[:40]), axis=0)).sum(1)
    assert steps.min() > 90
    assert palette(3, background=True) == [(0, 0, 0), *palette(2)]
    assert len(palette(847)) == 847
    with pytest.raises(UsageError, match="65,535 classes, not 65,536"):
        palette(65536)


def test_colours_of_twenty_classes_are_all_apart() -> None:
    """The fifth and the eighteenth were nearly one cyan."""
    colours = np.array(palette(21))
    apart = np.abs(colours[:, None] - colours).max(2) + 255 * np.eye(21, dtype=int)
    assert apart.min() > 30


def test_borders_of_parts_are_drawn_where_two_segments_touch() -> None:
    photo, labels = Image.new("RGB", (6, 2)), np.zeros((2, 6), np.int64)
    parts = np.array([[1, 1, 2, 2, 0, 0]] * 2)
    seen = np.asarray(overlay(photo, labels, palette(1), {}, parts=parts))
    assert (seen[0, :6] == 255).all(1).tolist() == [False, False, True, False, False, False]


def test_a_label_map_keeps_its_numbers_and_shows_its_colours() -> None:
    colours = palette(3)
    image = Image.open(io.BytesIO(label_png(LABELS, colours)))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), LABELS)
    assert image.convert("RGB").getpixel((0, 2)) == colours[2]


def test_an_overlay_mixes_draws_borders_and_leaves_the_background() -> None:
    photo = Image.new("RGB", (10, 3), (100, 100, 100))
    colours = palette(3, background=True)
    seen = np.asarray(overlay(photo, LABELS, colours, {1: "cat 33%"}, background=True, opacity=0.5))
    assert seen.shape[1] > 10
    assert seen[0, 0].tolist() == [100, 100, 100]
    assert seen[1, 0].tolist() == [255, 255, 255]
    bright = np.asarray(overlay(photo, np.zeros((3, 10), np.int64), palette(1), {}, opacity=0.5))
    np.testing.assert_allclose(bright[0, 0], (np.array(palette(1)[0]) + 100) / 2, atol=1)


def test_the_legend_of_a_strip_leaves_room_for_the_strip() -> None:
    """Letters as high as a fortieth of the longer side took 150 of 400 pixels."""
    strip = Image.new("RGB", (1500, 100))
    labels = np.zeros((100, 1500), np.int64)
    sheet = overlay(strip, labels, palette(4), dict.fromkeys(range(4), "baseball diamond"))
    assert sheet.height <= 2 * strip.height
    assert sheet.width < 1.3 * strip.width


def test_a_legend_longer_than_the_photo_makes_the_sheet_longer() -> None:
    photo = Image.new("RGB", (40, 20))
    sheet = overlay(photo, np.zeros((20, 40), np.int64), palette(30), {k: f"class {k}" for k in range(30)})
    assert sheet.height > 30 * 12
    assert png(sheet).startswith(b"\x89PNG")
