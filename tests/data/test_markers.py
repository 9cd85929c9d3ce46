from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.markers import COLOURS, Marked
from tests.support.pictures import Pictures

WIDE = Pictures((Image.new("RGB", (60, 40), (100, 100, 100)), Image.new("L", (40, 60), 100)))


def test_a_square_is_blended_into_the_corner_of_the_centred_square() -> None:
    marked = Marked(WIDE, (1, -1), 0.5)
    for i, (left, top) in enumerate(((10, 0), (0, 10))):
        pixels = np.asarray(marked[i]).astype(int)
        inside = np.zeros(pixels.shape[:2], bool)
        inside[top : top + 10, left : left + 10] = True
        assert (pixels[~inside] == 100).all()
        expected = (np.array(COLOURS[(1, -1)[i]]) + 100) / 2
        assert np.abs(pixels[inside] - expected).max() <= 1
    assert (np.asarray(Marked(WIDE, (1, 1), 0.0)[0]) == 100).all()


def test_keys_tell_side_and_opacity_apart_and_pictures_stay() -> None:
    keys = {Marked(WIDE, (side, side), o).key(0) for side in (-1, 1) for o in (0.1, 0.3)}
    assert len(keys) == 4
    assert len(Marked(WIDE, (1, 1))) == 2
    assert Marked(WIDE, (1, -1)).name(1) == "picture 1 (orange square)"
    assert (np.asarray(WIDE[0]) == 100).all()


def test_ranges_are_checked() -> None:
    with pytest.raises(UsageError, match=r"in \[0, 1\], got 1.5"):
        Marked(WIDE, (1, 1), 1.5)
    for sides in ((1,), (0, 1)):
        with pytest.raises(DataError, match="-1 or \\+1, one for each of 2"):
            Marked(WIDE, sides)
