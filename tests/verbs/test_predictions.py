from __future__ import annotations

import numpy as np
import pytest

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures((picture(0, 0), picture(1, 1)))
NAMES = ["red", "green", "blue"]


@pytest.fixture
def model() -> Model:
    return model_of(ColourBackbone())


def coloured(name: str) -> np.ndarray:
    return np.full((8, 8, 3), COLOURS[name], np.uint8)


def test_every_probability_is_there_whatever_is_shown(model: Model) -> None:
    result = diptych.classify([coloured("blue"), coloured("red")], NAMES, model, top=1, threshold=0.9)
    assert result.classes == tuple(NAMES)
    assert result.probabilities.shape == (2, 3)
    assert np.allclose(result.probabilities.sum(1), 1)
    assert [result.classes[k] for k in result.probabilities.argmax(1)] == ["blue", "red"]
    whole = diptych.classify([coloured("blue"), coloured("red")], NAMES, model, top=3)
    for item, row in zip(whole, result.probabilities, strict=True):
        assert dict(item.top) == pytest.approx(dict(zip(NAMES, row, strict=True)))


def test_rows_of_json_are_the_items_and_settings_stand_beside_them(model: Model) -> None:
    result = diptych.classify(PHOTOS, NAMES, model, method="perceptionclip", settings={"factors": "tool"}, reasons=1)
    data = result.as_dict()
    assert data["predictions"] == [item.as_dict() for item in result]
    assert (data["settings"], data["remarks"], data["method"]) == ({"factors": "tool"}, [], "perceptionclip")
    assert all(item.reasons is not None and item.reasons[0][0].startswith("tool: ") for item in result)


def test_what_leaves_no_choice_is_a_remark(model: Model) -> None:
    with pytest.warns(UserWarning, match="With one name every photo gets it"):
        result = diptych.classify(PHOTOS, ["red"], model)
    assert list(result.as_dict()["remarks"]) == list(result.remarks)


def test_numbers_as_names_are_a_remark_in_the_words_of_python(model: Model) -> None:
    with pytest.warns(UserWarning, match="give their names with names=, or in a column"):
        diptych.classify(PHOTOS, ["0", "1"], model)
