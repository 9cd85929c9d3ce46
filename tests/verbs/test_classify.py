from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import DiptychError
from tests.support.colours import COLOURS, ColourBackbone, colour_pool
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures((picture(0, 0), picture(1, 1)))
NAMES = ["red", "green", "blue"]


@pytest.fixture
def model() -> Model:
    return model_of(ColourBackbone())


def test_texts_and_contexts_reach_the_system(model: Model) -> None:
    named = diptych.classify(PHOTOS, list(COLOURS), model, method="description", texts=colour_pool_texts(), reasons=1)
    assert named[0].reasons is not None
    seen = diptych.classify(PHOTOS, NAMES, model, method="perceptionclip", factors=["tool"], reasons=1)
    assert seen[0].reasons is not None
    assert seen[0].reasons[0][0].startswith("tool: ")


def colour_pool_texts() -> dict[str, list[str]]:
    return {name: list(map(str, texts)) for name, texts in colour_pool()["descriptions"]["texts"].items()}


def test_boxes_are_classified_by_themselves(model: Model, tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20), "red")
    photo.paste("blue", (20, 0, 40, 20))
    photo.save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("path,x,y,w,h,phrase\na.png,0,0,20,20,one\na.png,20,0,20,20,two\n")
    result = diptych.classify(tmp_path / "a.png", ["red", "blue"], model, regions=tmp_path / "boxes.csv")
    assert result.labels == ("red", "blue")
    assert np.asarray(result.picture(1)).shape == (20, 20, 3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"names": ""}, "names= is empty"),
        ({"top": 0}, "top= must be at least 1, got 0"),
        ({"threshold": 1.5}, r"threshold= must be in \[0, 1\], got 1.5"),
        ({"sets": 0.9}, "sets=, per_class= and unknown_rate= need a calibrated classifier, classifier="),
        ({"method": "gda"}, "give its folder with classifier="),
        ({"method": "description"}, "give texts="),
        (
            {"texts": {"red": ["warm"]}},
            "zero-shot does not read texts=, but description, .* choose one of these with method=",
        ),
        ({"contexts": "general"}, "zero-shot does not read contexts=, but perceptionclip does"),
        ({"method": "perceptionclip", "contexts": "waterbirds"}, "factors= says which are inferred"),
        ({"regions": "boxes.csv"}, "regions= and frames= are for files: give photos= as paths"),
        ({"settings": {"width": 3}}, "has no setting 'width'"),
        ({"reasons": 1}, "zero-shot gives no reasons"),
    ],
)
def test_errors_name_the_arguments_of_python(model: Model, given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.classify(PHOTOS, **{"names": NAMES, "model": model, **given})  # type: ignore[arg-type]
