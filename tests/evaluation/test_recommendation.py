"""A comparison on labelled photos: each photo is named by what was fitted without it, and test is not looked at."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, Run
from diptych.data.load import open_data
from diptych.evaluation import recommendation
from diptych.evaluation.recommendation import Recommendation, drawn_part, quick_systems, recommend
from diptych.verbs.names import names_of
from tests.support.colours import ColourBackbone, colour_folder


def compared(folder: Path, tmp_path: Path, systems: tuple[str, ...] = ("tip-adapter",), **how: Any) -> Recommendation:
    data = open_data(folder, need="classes")
    names = names_of(how.pop("names", None), data.classes, None)
    run = Run(cache=tmp_path / "cache", workers=0)
    return recommend(data, ColourBackbone(), names, run, systems=quick_systems(systems), **how)


def test_quick_systems_learn_from_labels_alone_and_train_no_tower() -> None:
    labels = [label for label, _ in quick_systems()]
    assert labels[0] == "zero-shot, ensemble"
    assert {"gda", "linear-probe", "tip-adapter", "clap"} <= set(labels)
    assert not {"coop", "glsim", "mocoop", "description", "nola", "prolip", "transclip"} & {
        x.split(",")[0] for x in labels
    }


def test_each_photo_is_named_once_and_by_what_was_fitted_on_the_others() -> None:
    labels = np.repeat([0, 1, 2], [2, 7, 23])
    parts = list(recommendation._folds(labels, 5, seed=3))
    assert Counter(int(i) for _, named in parts for i in named) == Counter(range(32))
    for fitted, named in parts:
        assert not set(fitted) & set(named)
        assert set(labels[fitted]) == {0, 1, 2}


def test_wrong_names_make_a_system_that_learns_the_better_one(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 8})
    names = ["yellow", "red", "pink", "green", "blue"]  # of blue, green, pink, red and yellow
    advice = compared(folder, tmp_path, ("gda",), names=names)
    plain, learnt = advice.candidates[0], advice.best
    assert (plain.system, learnt.system) == ("zero-shot, ensemble", "gda")
    assert plain.accuracy.value < 0.3 < learnt.accuracy.value
    assert advice.better
    assert advice.expected.value == pytest.approx(learnt.accuracy.value - plain.accuracy.value, abs=0.05)
    assert (advice.photos, advice.folds, advice.fewest, advice.largest) == (40, 5, 8, 8)
    assert advice.doubling is not None


def test_labels_that_say_nothing_recommend_class_names_alone(tmp_path: Path) -> None:
    """Photos whose labels were shuffled: whatever learns from them is at chance, and class names alone too."""
    folder = colour_folder(tmp_path / "photos", {"": 10})
    files = sorted(folder.glob("*/*.png"))
    drawn = np.random.default_rng(0).permutation(len(files))
    for i, file in enumerate(files):
        shutil.move(file, tmp_path / f"{i}.png")
    for i, j in enumerate(drawn):
        shutil.move(tmp_path / f"{i}.png", files[j])
    advice = compared(folder, tmp_path, ("tip-adapter", "gda", "linear-probe"))
    assert not advice.better


def test_test_photos_are_not_looked_at(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"train": 4, "val": 2, "test": 3})
    whole = compared(folder, tmp_path)
    for file in folder.glob("test/*/*.png"):
        file.write_bytes(b"no picture")
    assert compared(folder, tmp_path).candidates[1].accuracy == whole.candidates[1].accuracy
    assert whole.photos == 30
    assert len(drawn_part(open_data(folder, need="classes"), 99, Run())) == 30
    assert len(drawn_part(open_data(folder, need="classes"), 2, Run())) == 10


def test_photos_that_repeat_another_one_are_left_out(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 4})
    for i in range(3):
        shutil.copy(folder / "red" / "0.png", folder / "red" / f"again{i}.png")
    advice = compared(folder, tmp_path)
    assert (advice.repeated, advice.photos) == (3, 20)


def test_a_class_of_one_photo_and_a_system_that_cannot_be_fitted_are_named(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"": 3})
    advice = compared(folder, tmp_path, ("tip-adapter", "description"))
    assert "description" in " ".join(advice.missing)
    for file in sorted(folder.glob("pink/*"))[1:]:
        file.unlink()
    with pytest.raises(DataError, match="'pink' has 1 labelled photo, and a comparison needs 2 of each class"):
        compared(folder, tmp_path)
