from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.api.model import Model
from diptych.core import DiptychError, Run
from tests.support.dense_colours import DenseColours, halves
from tests.support.pictures import Pictures

MODEL = Model(DenseColours(), Run())


def test_python_segments_with_background_and_settings() -> None:
    photo = halves("red", "blue", 60, 40)
    result = diptych.segment([photo], ["red", "green"], MODEL, background="blue, yellow")
    assert len(result.paths) == 1
    assert result.labels[0] in ("background", "red")
    assert {a["label"] for a in result.as_dict()["photos"][0]["areas"]} == {"background", "red"}
    assert result.as_dict()["background"] == ("blue", "yellow")
    assert result.picture is not None
    assert result.picture(0).size[0] >= 60  # type: ignore[union-attr]
    with pytest.raises(DiptychError, match="has no setting 'windowss', did you mean 'windows'"):
        diptych.segment([photo], ["red", "green"], MODEL, settings={"windowss": 3})


def test_settings_without_a_method_are_those_of_the_usual_one_of_the_backbone() -> None:
    photo = halves("red", "blue", 60, 40)
    result = diptych.segment([photo], ["red", "green"], MODEL, settings={"sides": (32,), "colours": 0.0})
    assert result.as_dict()["method"] == "stuff-context"
    assert result.as_dict()["settings"] == {"sides": (32,), "colours": 0.0}
    with pytest.raises(DiptychError, match="StuffContext has no setting 'appear', did you mean 'appearance'"):
        diptych.segment([photo], ["red", "green"], MODEL, settings={"appear": 3})
    with pytest.raises(DiptychError, match="StuffContext has no setting 'windows'"):
        diptych.segment([photo], ["red", "green"], MODEL, settings={"windows.side": 64})


def test_other_names_of_a_kept_segmenter_get_the_prompts_that_it_was_kept_with(tmp_path: Path) -> None:
    """Else a released FC-CLIP would read the names of a data set in prompts that are not its authors'."""
    photo, kept = halves("red", "blue", 60, 40), tmp_path / "kept"
    diptych.segment([photo], ["red", "green"], MODEL, method="maskclip", templates=["a {} wall"], fitted=kept)
    again = diptych.segment([photo], ["red", "green"], MODEL, method="maskclip", fitted=kept)
    assert list(again.as_dict()["templates"]) == ["a {} wall"]
    with pytest.raises(DiptychError, match="was fitted on the names red, green"):
        diptych.segment([photo], ["red", "green"], MODEL, method="maskclip", templates=["the {}"], fitted=kept)


def test_without_photos_nothing_is_segmented() -> None:
    with pytest.raises(DiptychError, match="No photos"):
        diptych.segment(Pictures(()), ["red"], MODEL)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "sam-clip", "unlabelled": "x"}, "give masks=, such as"),
        ({"method": "fc-clip"}, "give train="),
        ({"unlabelled": "x"}, "maskclip does not read unlabelled="),
        ({"threshold": 2.0, "background": "sky"}, r"threshold= must be in \[0, 1\]"),
        ({"regions": "boxes.csv", "things": "red"}, "leave out things=, or regions="),
    ],
)
def test_errors_name_the_arguments_of_python_before_anything_is_loaded(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.segment(Path("nowhere"), ["red"], "no-such-model", **given)  # type: ignore[arg-type]
