from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from diptych.api.model import Model
from diptych.core import Run, UsageError
from diptych.serve import opening
from diptych.serve.model import ServedModel
from diptych.serve.opening import check_folders, open_captions, open_classifier, open_index, open_normal
from diptych.tasks.model import Predictor
from tests.support.colours import ColourBackbone


class Other(ColourBackbone):
    @property
    def fingerprint(self) -> str:
        return "other"


@pytest.fixture
def other() -> ServedModel:
    return ServedModel("other", Model(Other(name="other"), Run()))


def test_an_index_is_served_by_the_model_that_made_it(
    index_folder: Path, model: ServedModel, other: ServedModel
) -> None:
    assert open_index(index_folder, [other, model]).model is model
    with pytest.raises(UsageError, match="was indexed with colours"):
        open_index(index_folder, [other])
    with pytest.raises(UsageError, match="no index"):
        open_index(index_folder / "no", [model])


def test_an_index_of_another_backbone_is_refused_by_its_name(
    index_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused once the models were loaded and timed, after 15 seconds."""
    monkeypatch.setattr(opening, "index_at", lambda folder: nullcontext(SimpleNamespace(facts={"backbone": "tiny"})))
    with pytest.raises(UsageError, match="was indexed with tiny at precision None, which is not served: give it as"):
        check_folders([index_folder], [], ["lite", "ViT-B-32/openai"])
    for served in (["lite", "tiny"], ["local:/my/model"], ["hf:org/name", "lite"], []):
        check_folders([index_folder], [], served)
    monkeypatch.setattr(opening, "index_at", lambda folder: nullcontext(SimpleNamespace(facts={"backbone": "mine"})))
    check_folders([index_folder], [], ["lite"])


def test_a_classifier_is_served_on_the_model_it_was_fitted_on(
    predictor: Predictor, model: ServedModel, other: ServedModel, tmp_path: Path
) -> None:
    predictor.save(tmp_path / "classifier")
    assert open_classifier(tmp_path / "classifier", [other, model]).classes == predictor.classes
    with pytest.raises(UsageError, match="give it as backbone"):
        open_classifier(tmp_path / "classifier", [other])


def test_lines_of_normal_photos_have_a_name() -> None:
    for line in ("photos", "=photos", "name="):
        with pytest.raises(UsageError, match="NAME=FOLDER"):
            open_normal(line)


def test_sentences_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "sentences.txt").write_text("A cat sits.\nA dog runs.\nA cat sits.\n")
    assert open_captions(tmp_path / "sentences.txt") == ("A cat sits.", "A dog runs.")
