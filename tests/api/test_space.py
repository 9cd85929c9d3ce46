from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diptych
from diptych.api.space import FittedSpace
from diptych.core import DiptychError, UsageError
from tests.support.sky import TINY, sky
from tests.support.small_clip import small_clip
from tests.tasks.test_extend import clips  # noqa: F401


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch encode: preparing an engine takes longer than these tests."""
    monkeypatch.setattr("diptych.backbones.engines.engine.Engines.runner", lambda *given: None)


@pytest.fixture
def space(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FittedSpace:  # noqa: F811
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return diptych.extend("set", model=small_clip(tmp_path / "again"), frames=2, epochs=12, template="a {}.")


def test_a_space_is_saved_and_loaded_by_its_folder(space: FittedSpace) -> None:
    assert "2 classes: blue, red)" in str(space)
    vectors = space.encode_image("set/test")
    assert vectors.shape == (8, space.dim)
    space.save("model")
    assert "2 classes: blue, red, in model)" in str(space)
    assert space.spec.name == f"space:{Path('model').absolute()}"
    again = diptych.load("space:model")
    np.testing.assert_array_equal(again.encode_image("set/test"), vectors)
    labels = diptych.classify("set/test", model=space).labels
    assert [diptych.classify("set/test", **given).labels for given in WAYS] == [labels] * len(WAYS)
    assert diptych.classify("set/test", classifier=space.classifier).labels == labels
    with pytest.raises(UsageError, match="model exists and is not empty"):
        space.save("model")


WAYS: tuple[dict[str, Any], ...] = ({"model": "space:model"}, {"classifier": "model"})
"""How a kept space is named to classify."""


def test_samples_are_named_by_other_words_too(space: FittedSpace) -> None:
    named = diptych.classify("set/test", ["red", "blue", "green"], model=space)
    assert named.classes == ("red", "blue", "green")
    assert named.probabilities.shape == (8, 3)
    items = diptych.open_data("set", need="clips")["test"].items
    same = diptych.classify(items, ["red", "blue", "green"], model=space)
    assert same.labels == named.labels
    with pytest.raises(UsageError, match="leave out model=, or classifier="):
        diptych.classify("set/test", model=space, classifier=space.classifier)
    with pytest.raises(UsageError, match="For clips with a model, point clouds and light curves there are no sets="):
        diptych.classify("set/test", model=space, reasons=2)


def test_an_index_is_made_of_a_kept_space_alone(space: FittedSpace) -> None:
    with pytest.raises(UsageError, match="has no folder where a search could find it again: save it"):
        diptych.index("set/test", "idx", space)
    space.save("model")
    assert diptych.index("set/test", "idx", space).entries == 8
    (first,) = diptych.search("idx", "set/test/red/clip1", top=1)
    assert first.score == pytest.approx(1, abs=1e-5)


def test_other_verbs_say_who_takes_a_space(space: FittedSpace) -> None:
    with pytest.raises(
        UsageError, match=r"\+frames2 is a fitted space of clips and not a model of photos: it is taken"
    ):
        diptych.segment("demo:photos", ["cat"], space)
    with pytest.raises(AttributeError, match=r"use diptych\.classify\(samples, model=space\)"):
        _ = space.predict


def test_classes_that_were_learnt_from_labels_have_no_words(tmp_path: Path) -> None:
    stars = diptych.extend(sky(tmp_path / "sky"), tmp_path / "model", method=TINY, seed=1)
    assert stars.right == {"from scratch": 6, "astrom3": 6}
    named = diptych.classify(tmp_path / "sky", model=stars, top=1)
    assert set(named.labels) == {"rising", "falling"}
    with pytest.raises(UsageError, match="knows the classes that it learnt, and no words: leave names= and templates="):
        diptych.classify(tmp_path / "sky", ["up", "down"], model=stars)
    with pytest.raises(DiptychError, match="There is no folder nowhere of a fitted space"):
        diptych.load("space:nowhere")
