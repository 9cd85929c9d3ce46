"""Every extender goes from labels to a folder to answers, and its space is saved and loaded with the same vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.core import (
    ClassNames,
    Column,
    Evidence,
    Extender,
    Kit,
    Run,
    Samples,
    Space,
    Table,
    Texts,
)
from diptych.data.labelled import LabelledData
from diptych.data.modalities import modality as kind_named
from diptych.features.embed import embed
from diptych.features.spaces import load_space, save_space
from diptych.tasks.extend import extend
from diptych.tasks.extenders import classes_of
from diptych.tasks.space_classifier import classify_samples, load_classifier, stated
from tests.support.contract import short
from tests.support.moving import clip_task
from tests.support.visual_backbone import VisualBackbone

CARDS = [card for card in catalog.cards() if card["verb"] == "extend"]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
OVER_A_BACKBONE = [row for row in ROWS if catalog.find(row[0]).card.needs.hooks]
NEEDS = [(card["slug"], name) for card in CARDS for name in card["needs"]["evidence"]]


def make(slug: str, label: str = "") -> Extender:
    method = catalog.find(slug)
    assert issubclass(method, Extender)
    return method(**{**short(slug), **method.card.variants[label]})


def task(slug: str) -> tuple[Evidence[Any], dict[str, Samples[Any]]]:
    """Return what to fit on, and samples of each modality."""
    method = catalog.find(slug)
    assert issubclass(method, Extender)
    if method.samples == "stars":
        from tests.support.stars import star_task

        return star_task()
    from tests.support.clouds import cloud_task

    evidence, test = {"clips": clip_task, "clouds": cloud_task}[method.samples]()
    return evidence, {"image": test.items}


def fit(slug: str, label: str = "", seed: int = 0) -> tuple[Space, dict[str, Samples[Any]]]:
    evidence, items = task(slug)
    return make(slug, label).fit(Kit({"main": VisualBackbone()}), evidence, Run(seed=seed)), items


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_a_space_is_saved_and_loaded_with_the_same_vectors(slug: str, label: str, tmp_path: Path) -> None:
    space, items = fit(slug, label)
    save_space(space, tmp_path / "space")
    assert {p.name for p in (tmp_path / "space").iterdir()} == {"fitted.json", "tensors.safetensors"}
    again = load_space(tmp_path / "space", Kit({"mine": VisualBackbone()}))
    assert type(again) is type(space)
    assert (again.fingerprint, again.spec.name) == (space.fingerprint, space.spec.name)
    for modality, samples in items.items():
        one, two = (embed(s.encoders[modality], samples, Run()) for s in (space, again))
        assert torch.equal(one, two)
    if "text" in space.encoders:
        texts = Texts(("a red fox", "an oak tree"))
        assert torch.equal(embed(space.encoders["text"], texts, Run()), embed(again.encoders["text"], texts, Run()))
    assert not again.module().training


@pytest.mark.parametrize("slug", [card["slug"] for card in CARDS])
def test_every_system_goes_from_labels_to_a_folder_to_answers(slug: str, tmp_path: Path) -> None:
    """One road for all: ``extend``, its folder, and a classifier that answers as the fitted one."""
    method, data = make(slug), labelled_data(slug)
    kind = kind_named(method.samples)
    classes = ClassNames(data.classes, ("image of a {}.",)) if kind.named else classes_of(data, kind)
    backbone = VisualBackbone() if method.card.needs.hooks else None
    result = extend(data, classes, backbone, method, Run(), out=tmp_path / "out")
    assert result.right[slug] <= result.tested == len(data.split("test"))
    again = load_classifier(tmp_path / "out", VisualBackbone())
    test = data.split("test").items
    assert torch.equal(again.scores(test, Run()).values, result.classifier.scores(test, Run()).values)
    answer = classify_samples(test, again, Run(), top=1)
    assert [p.top[0][0] for p in answer.predictions] == [
        data.classes[k] for k in again.scores(test, Run()).predicted().tolist()
    ]
    assert (answer.method, answer.classes) == (slug, classes)
    about = stated(tmp_path / "out")
    assert about is not None
    assert (about.samples, about.backbone) == (kind.name, VisualBackbone().spec.name if backbone else "")


def labelled_data(slug: str) -> LabelledData:
    """Return two classes of the samples of a system, with train and test."""
    method = catalog.find(slug)
    assert issubclass(method, Extender)
    if method.samples == "stars":
        from tests.support.stars import labelled

        return LabelledData("stars", ("small", "large"), {"train": labelled(12), "test": labelled(6, 50)})
    evidence, test = task(slug)
    assert evidence.train is not None
    labels = {"label": evidence.train.columns["label"]}
    names = ("red fox", "oak tree", "tea cup")
    held = Table(test["image"], {"label": Column("label", np.arange(len(test["image"])) % 3)})
    return LabelledData("samples", names, {"train": Table(evidence.train.items, labels), "test": held})
