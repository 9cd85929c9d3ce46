from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from recipes.mask_scenes import LONG, VISIBLE, Sources, compose, cut_out, open_sources


def sources() -> Sources:
    rng = np.random.default_rng(0)
    photos = tuple(Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)) for _ in range(3))
    thing = Image.new("RGBA", (40, 30), "red")
    return Sources((thing,), (thing,), photos)


def test_a_picture_is_the_same_every_time_and_its_masks_are_apart() -> None:
    given, grounds = sources(), set()
    for number in range(8):
        one, again = compose(given, 3, number), compose(given, 3, number)
        assert one.image.tobytes() == again.image.tobytes()
        assert max(one.image.size) == LONG
        assert one.masks.shape[1:] == (one.image.height, one.image.width) == one.known.shape
        assert (one.masks.sum(0) <= 1).all()
        assert (one.masks.sum((1, 2)) >= VISIBLE).all()
        assert not (one.masks.any(0) & ~one.known).any()
        grounds.add(bool(one.known.all()))
    assert grounds == {True, False}  # areas of texture are known, photos are not
    assert compose(given, 3, 0).image.tobytes() != compose(given, 4, 0).image.tobytes()


def test_what_stands_on_white_is_cut_out_with_white_inside() -> None:
    shown = Image.new("RGB", (60, 60), "white")
    draw = ImageDraw.Draw(shown)
    draw.ellipse((10, 10, 50, 50), "navy")
    draw.ellipse((25, 25, 35, 35), "white")
    found = cut_out(shown)
    assert found is not None
    alpha = np.asarray(found.getchannel("A")) > 0
    assert 0.9 * np.pi * 20**2 < alpha.sum() < np.pi * 20**2  # a pixel of the edge is left out
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2]
    assert cut_out(Image.new("RGB", (60, 60), "white")) is None
    assert cut_out(Image.new("RGB", (60, 60), "gray")) is None


def test_the_sources_are_found(data_root: Path) -> None:
    found = open_sources(data_root)
    assert len(found.rendered) > 400
    assert len(found.drawn) > 1900
    assert len(found.photos) > 900
    assert {picture.mode for picture in found.rendered + found.drawn} == {"RGBA"}
