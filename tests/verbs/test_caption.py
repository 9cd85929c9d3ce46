from __future__ import annotations

import pickle

import pytest

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import DiptychError, Text
from diptych.methods.caption.nearest_caption import FittedNearestCaption
from tests.support.colours import ColourBackbone
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures((picture(0, 0), picture(1, 1)))
SENTENCES = ["a red wall", "a blue sea"]


@pytest.fixture
def model() -> Model:
    return model_of(ColourBackbone())


def test_python_gives_the_rows_of_json_and_what_the_rate_is_worth(model: Model) -> None:
    with pytest.warns(UserWarning, match=r"in at most 50 % of cases, measured on .* with clean=: 1 or more"):
        result = diptych.caption(PHOTOS, SENTENCES, model, rate=0.5)
    data = result.as_dict()
    assert data["remarks"] == list(result.remarks)
    fitting = sum(row["fits"] for row in data["photos"])
    assert result.remarks[0].startswith(f"{fitting} of 2 photos have a sentence that fits. A photo that none describes")
    assert [row["captions"] for row in data["photos"]] == [list(item) for item in result]
    assert [row["fits"] for row in data["photos"]] == [item.fits for item in result]
    assert (data["fit"]["rate"], data["method"], data["settings"]) == (0.5, "nearest-caption", {})
    assert pickle.loads(pickle.dumps(result[0])).fits is result[0].fits


def test_without_a_rate_nothing_is_said_of_a_fit(model: Model) -> None:
    result = diptych.caption(PHOTOS, SENTENCES, model, rate=None, n=2)
    assert (result.remarks, result.as_dict()["fit"], result[0].fits) == ((), None, None)
    assert sorted(result[0]) == sorted(SENTENCES)


def test_empty_captions_are_counted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        FittedNearestCaption, "caption", lambda self, images, run, *, n=1: [[Text("")], [Text("a wall")]]
    )
    with pytest.warns(UserWarning, match="1 of 2 photos got an empty caption, since nearest-caption learnt too little"):
        diptych.caption(PHOTOS, SENTENCES, model, rate=None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "A captioner learns from sentences: give texts="),
        ({"texts": SENTENCES, "rate": 1.5}, r"rate= must be in \(0, 1\), got 1.5"),
        ({"texts": SENTENCES, "n": 0}, "n= must be at least 1"),
        ({"texts": SENTENCES, "user": "anna"}, "does not read user=, but user-aware-prefix does"),
        ({"texts": SENTENCES, "method": "clip-reward"}, "clip-reward does not read texts=, but"),
        ({"texts": SENTENCES, "references": "caption_*"}, "references= names columns of one table: give the path"),
        ({"texts": SENTENCES, "settings": {"width": 3}}, "has no setting 'width'"),
    ],
)
def test_errors_name_the_arguments_of_python(model: Model, given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.caption(PHOTOS, model=model, **given)  # type: ignore[arg-type]
