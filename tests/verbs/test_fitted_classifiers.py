"""What was fitted before classifies: by its folder, and as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import DiptychError
from tests.support.colours import ColourBackbone, colour_folder
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures((picture(0, 0), picture(1, 1)))
NAMES = ["red", "green", "blue"]


@pytest.fixture
def model() -> Model:
    return model_of(ColourBackbone())


def test_a_fitted_classifier_answers_by_its_folder_and_as_it_is(model: Model, tmp_path: Path) -> None:
    data = diptych.open_data(colour_folder(tmp_path / "d", {"train": 8, "test": 2}))
    fitted = diptych.systems.GDA(alpha=1.0).fit(model, data["train"])
    fitted.save(tmp_path / "model")
    again = diptych.classify(data["test"].items, model=model, classifier=tmp_path / "model")
    same = diptych.classify(data["test"].items, classifier=fitted)
    assert again.labels == same.labels == tuple(fitted.predict(data["test"].items))
    assert np.allclose(again.probabilities, fitted.predict_proba(data["test"].items))
    with pytest.raises(DiptychError, match=r"A model has its own names, .*leave these out, or classifier="):
        diptych.classify(PHOTOS, NAMES, model, classifier=fitted)


def test_what_is_no_classifier_is_refused(model: Model) -> None:
    with pytest.raises(DiptychError, match="a folder or a fitted classifier, not int"):
        diptych.classify(PHOTOS, model=model, classifier=3)  # type: ignore[arg-type]
