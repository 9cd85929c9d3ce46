from __future__ import annotations

from functools import partialmethod

import numpy as np
import pytest

import diptych
from diptych.api.model import Model
from diptych.core import Run
from diptych.methods.segment.stuff_context import StuffContext
from tests.support.dense_colours import DenseColours, halves

MODEL = Model(DenseColours(), Run())


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos three times their size: at 448 pixels they have 18,816 cells here, each of which is compared with all."""
    monkeypatch.setattr(StuffContext, "__init__", partialmethod(StuffContext.__init__, sides=(120,)))


def test_one_name_leaves_no_choice_and_says_so() -> None:
    with pytest.warns(UserWarning, match="add names, or background= with"):
        assert np.unique(diptych.segment([halves("red", "blue", 60, 40)], ["red"], MODEL)[0].labels).tolist() == [0]


def test_rows_columns_and_lines_give_the_same_shares() -> None:
    result = diptych.segment([halves("red", "blue", 60, 40, 0.75)], ["red", "green", "blue"], MODEL)
    areas = {area["label"]: area["area"] for area in result.as_dict()["photos"][0]["areas"]}
    assert set(areas) == {"red", "blue"}
    assert {name: values[0] for name, values in result.columns.items()} == pytest.approx({"green": 0.0, **areas})
    assert result.labels[0] == "red" == result.lines[0].split()[0]


def test_one_name_over_most_photos_is_said_from_three_photos_on() -> None:
    whole, half = halves("red", "red", 60, 40), halves("red", "blue", 60, 40)
    names = ["red", "blue"]
    with pytest.warns(UserWarning, match="2 of 3 photos have one name in all pixels, 'red' 2 times"):
        result = diptych.segment([whole, half, whole], names, MODEL)
    assert len(result.remarks) == 1
    assert diptych.segment([whole, half, half], names, MODEL).remarks == ()
    assert diptych.segment([whole, whole], names, MODEL).remarks == ()
