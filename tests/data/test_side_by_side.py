from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError
from diptych.data.side_by_side import EMPTY, GREY, SideBySide
from tests.support.pictures import Pictures

TWO = Pictures((Image.new("RGB", (40, 20), (255, 0, 0)), Image.new("L", (20, 60), 200)))


def test_each_half_holds_its_picture_and_the_rest_is_grey() -> None:
    made = SideBySide(TWO, (0, 0, EMPTY), (1, EMPTY, 1), side=8)
    both, alone, other = (np.asarray(made[i]) for i in range(3))
    assert both.shape == (16, 16, 3)
    assert (both[4:12, :8] == (255, 0, 0)).all()
    assert (both[4:12, 8:] == 200).all()
    assert (both[:4] == GREY).all()
    assert (both[12:] == GREY).all()
    assert (alone[:, :8] == both[:, :8]).all()
    assert (alone[:, 8:] == GREY).all()
    assert (other[:, 8:] == both[:, 8:]).all()


def test_keys_and_names_tell_order_and_size_apart() -> None:
    made = SideBySide(TWO, (0, 1, 0), (1, 0, EMPTY))
    assert len({made.key(i) for i in range(3)} | {SideBySide(TWO, (0,), (1,), side=8).key(0)}) == 4
    assert made.name(0) == "picture 0 beside picture 1"
    assert made.name(2) == "picture 0 beside nothing"


def test_bad_positions_are_refused() -> None:
    for left, right in (((0,), ()), ((2,), (0,)), ((-2,), (0,))):
        with pytest.raises(DataError, match="positions of 2 pictures"):
            SideBySide(TWO, left, right)
