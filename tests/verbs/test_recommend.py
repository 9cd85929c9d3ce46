from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from tests.support.colours import ColourBackbone, colour_folder

NAMES = ["yellow", "red", "pink", "green", "blue"]  # none is right: of blue, green, pink, red and yellow


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))


def test_python_gives_the_systems_and_what_to_try(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 8})
    advice = diptych.recommend(folder, ColourBackbone(), names=NAMES, methods=["gda", "even-prior"])
    assert next(c.system for c in advice) == "zero-shot, ensemble"
    assert advice.data["recommended"] == advice.data["best"] == "gda"
    assert f"Try gda: expect {100 * advice.data['expected_gain'][0]:+.1f} points (" in str(advice)
    assert "corrected for being the best of 4 compared. The second half of the labels brought" in str(advice)
    assert advice.to_pandas()["system"].tolist()[0] == "zero-shot, ensemble"
    assert advice.to_pandas()["acc1"][0] == advice.data["systems"][0]["acc1"] == advice[0].accuracy.value


def test_class_names_alone_are_recommended_where_nothing_is_better(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 3}, ["red", "green", "blue"])
    advice = diptych.recommend(folder, ColourBackbone(), methods="tip-adapter")
    assert advice.data["recommended"] == "zero-shot, ensemble"
    assert "Try zero-shot, ensemble: " in str(advice)


def test_a_photo_that_is_there_twice_is_left_out_once(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 3}, ["red", "green"])
    photo = next(folder.rglob("*.png"))
    photo.with_stem("again").write_bytes(photo.read_bytes())
    with pytest.warns(UserWarning, match=r"^1 photo is left out, for each shows what another one does\.$"):
        diptych.recommend(folder, ColourBackbone(), methods="tip-adapter")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"methods": "nope"}, "nope"),
        ({"methods": "trident"}, "classif"),
        ({"folds": 1}, "folds= must be at least 2, got 1"),
        ({"most": 1}, "most= must be at least 2, got 1"),
        ({"names": ["red"]}, "1 names? for 5 classes|5 classes"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, given: dict[str, object], says: str) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 3})
    with pytest.raises(UsageError, match=says):
        diptych.recommend(folder, ColourBackbone(), **given)  # type: ignore[arg-type]


def test_photos_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="demo:photos has no labels, by which systems are compared"):
        diptych.recommend("demo:photos", ColourBackbone())
