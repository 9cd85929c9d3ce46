from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diptych.backbones.names import space_folder
from diptych.core import ClassNames, DataError, Kit, Run, UsageError
from diptych.data.modalities import STARS
from diptych.features import portable, saved_classes
from diptych.features.clips import ClipSpace
from diptych.features.heads import logits_of
from diptych.features.spaces import load_space
from diptych.nn.spaces.star_space import TunedStars
from diptych.tasks.space_classifier import (
    SpaceClassifier,
    Stated,
    classify_samples,
    facts_of,
    load_classifier,
    open_space,
    stated,
)
from tests.support.moving import clip_task
from tests.support.sky import extended_stars, sky
from tests.support.visual_backbone import VisualBackbone

BACKBONE = VisualBackbone()
CLASSES = ClassNames(("red fox", "oak tree", "tea cup"), ("a {}.", "the {}."))
MODEL = SpaceClassifier(ClipSpace(BACKBONE, 2), "clips", 2, "frame-mean", CLASSES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    portable.save(MODEL, tmp_path / "clips")
    return tmp_path / "clips"


def test_words_name_samples_as_zero_shot_does(folder: Path) -> None:
    from diptych.core import Evidence
    from diptych.methods.classify.zero_shot import ZeroShot

    clips = clip_task()[1].items
    expected = ZeroShot().fit(Kit({"main": MODEL.space}), CLASSES, Evidence(), Run()).scores(clips, Run()).values
    again = load_classifier(folder, BACKBONE)
    assert torch.equal(again.scores(clips, Run()).values, expected)
    answer = classify_samples(clips, again, Run(), top=2, threshold=0.0)
    assert {len(p.top) for p in answer.predictions} == {2}
    assert answer.backbone.endswith("+frames2")
    with pytest.raises(UsageError, match="top must be at least 1"):
        classify_samples(clips, again, Run(), top=0)


def test_a_head_of_labels_names_stars_one_at_a_time_as_many(tmp_path: Path) -> None:
    extended_stars(sky(tmp_path / "sky"), tmp_path / "model")
    model = load_classifier(tmp_path / "model")
    assert isinstance(model.space, TunedStars)
    curves = STARS.open([str(tmp_path / "sky")]).split("test")
    answer = classify_samples(curves.items, model, Run(batch=4), top=1)
    answers = {p.name: p.top[0][0] for p in answer.predictions}
    assert answers == {f"s{i}": ("falling", "rising")[i % 2] for i in range(16, 22)}
    assert [e.name for e in answer.failed] == ["s22", "s23"]
    alone = classify_samples(curves.take([3]).items, model, Run())
    (same,) = (p for p in answer.predictions if p.name == "s19")
    assert dict(alone.predictions[0].top)[same.top[0][0]] == pytest.approx(same.top[0][1], abs=1e-6)
    assert classify_samples(curves.take([0]).items, model, Run(), threshold=1.0).predictions[0].top == ()
    with pytest.raises(DataError, match="The only light curve cannot be read"):
        classify_samples(curves.take([6]).items, model, Run())
    scores = model.scores(curves.take([0, 1]).items, Run())
    assert torch.equal(logits_of(scores, model.backbone), scores.values)


def test_a_folder_says_what_it_holds_without_being_loaded(folder: Path, tmp_path: Path) -> None:
    assert stated(folder) == Stated("clips", 2, BACKBONE.spec.name)
    assert facts_of(folder) == stated(folder)
    assert isinstance(load_space(folder, Kit({"main": BACKBONE})), ClipSpace)
    for text in ("no json", "{}", '{"fitted": {"class": "gda:FittedGDA", "fields": {}}}', '{"fitted": []}'):
        (tmp_path / "fitted.json").write_text(text)
        assert stated(tmp_path) is None
    with pytest.raises(DataError, match="holds no fitted space"):
        facts_of(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        facts_of(tmp_path / "absent")


@pytest.mark.parametrize("kind", sorted(saved_classes.RETIRED))
def test_folders_of_earlier_versions_say_how_to_write_them_again(kind: str, folder: Path) -> None:
    facts = json.loads((folder / "fitted.json").read_text())
    facts["fitted"]["class"] = kind
    (folder / "fitted.json").write_text(json.dumps(facts))
    for read in (stated, lambda path: load_classifier(path, BACKBONE)):
        with pytest.raises(UsageError, match=r"earlier version, and is no longer read: run 'diptych extend'"):
            read(folder)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    portable.save(CLASSES, tmp_path / "names")
    with pytest.raises(DataError, match="holds a ClassNames and no space"):
        load_classifier(tmp_path / "names", BACKBONE)
    with pytest.raises(DataError, match=r"fitted\.json does not exist"):
        load_classifier(tmp_path / "absent")


def test_a_folder_stands_in_the_place_of_a_backbone(folder: Path) -> None:
    space = open_space(folder, {BACKBONE.spec.name: BACKBONE}.__getitem__)
    assert space.spec.name == f"space:{folder}"
    assert space.image.modality == "clip"
    assert space_folder(f"space:{folder}") == space_folder(f"stars:{folder}") == space_folder(str(folder)) == folder
    assert space_folder("lite") is None
    assert space_folder(f"local:{folder}") is None
    (folder / "space.json").write_text("{}")  # a backbone that was trained stands there too
    assert space_folder(str(folder)) is None
    assert space_folder(f"space:{folder}") == folder
