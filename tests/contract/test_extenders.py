"""What every extender owes its user, multiplied over the catalog."""

from __future__ import annotations

import dataclasses
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    Encoder,
    Evidence,
    Extender,
    Kit,
    MissingEvidence,
    MissingPart,
    Run,
    Samples,
    Space,
    Subset,
    Table,
    Texts,
)
from diptych.data.labelled import LabelledData
from diptych.data.modalities import modality as kind_named
from diptych.features.embed import embed
from diptych.features.spaces import load_space, save_space
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.tasks.extend import classes_of, extend
from diptych.tasks.space_classifier import classify_samples, load_classifier, stated
from tests.support.moving import clip_task
from tests.support.visual_backbone import VisualBackbone

CARDS = [card for card in catalog.cards() if card["verb"] == "extend"]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
OVER_A_BACKBONE = [row for row in ROWS if catalog.find(row[0]).card.needs.hooks]
NEEDS = [(card["slug"], name) for card in CARDS for name in card["needs"]["evidence"]]
SMALL = {"epochs": 2, "batch": 4, "frames": 2, "length": 2, "adapter_epochs": 2}


def make(slug: str, label: str = "") -> Extender:
    method = catalog.find(slug)
    assert issubclass(method, Extender)
    known = {f.name for f in dataclasses.fields(method)}
    return method(**{**{k: v for k, v in SMALL.items() if k in known}, **method.card.variants[label]})


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
def test_every_row_encodes_its_samples(slug: str, label: str) -> None:
    space, items = fit(slug, label)
    for modality, samples in items.items():
        encoder = space.encoders[modality]
        assert isinstance(encoder, Encoder)
        vectors = embed(encoder, samples, Run())
        assert vectors.shape == (len(samples), encoder.dim)
        assert torch.isfinite(vectors).all()
        alone = embed(encoder, Subset(samples, (1,)), Run())
        torch.testing.assert_close(alone[0], vectors[1], rtol=1e-5, atol=1e-5)
    assert not space.module().training


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_same_seed_same_bits_and_fingerprints_name_the_vectors(slug: str, label: str) -> None:
    (one, items), (two, _) = fit(slug, label, 5), fit(slug, label, 5)
    assert one.fingerprint == two.fingerprint
    for modality, samples in items.items():
        assert torch.equal(embed(one.encoders[modality], samples, Run()), embed(two.encoders[modality], samples, Run()))
    if catalog.find(slug).card.trains != "nothing":
        assert fit(slug, label, 6)[0].fingerprint != one.fingerprint


@pytest.mark.parametrize("slug", [card["slug"] for card in CARDS])
def test_global_state_is_untouched(slug: str) -> None:
    def state() -> list[Any]:
        dice = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]  # noqa: NPY002
        return [*dice, torch.get_num_threads(), list(warnings.filters)]

    fit(slug)  # torch.optim imports sympy on first use, which adds a warnings filter
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            fit(slug)
            assert state() == before
            assert torch.is_grad_enabled() is graded


@pytest.mark.parametrize(("slug", "label"), OVER_A_BACKBONE)
def test_the_backbone_is_not_written_and_classifiers_take_the_samples(slug: str, label: str) -> None:
    evidence, items = task(slug)
    backbone = VisualBackbone()
    before = {k: v.clone() for k, v in backbone.module().state_dict().items()}
    flags = [p.requires_grad for p in backbone.module().parameters()]
    space = make(slug, label).fit(Kit({"main": backbone}), evidence, Run())
    assert all(torch.equal(v, before[k]) for k, v in backbone.module().state_dict().items())
    assert [p.requires_grad for p in backbone.module().parameters()] == flags
    assert isinstance(space, Backbone)
    names = ClassNames(("red fox", "oak tree", "tea cup"))
    scores = ZeroShot().fit(Kit({"main": space}), names, Evidence(), Run()).scores(items["image"], Run())
    assert scores.values.shape == (len(items["image"]), 3)
    assert not scores.values.requires_grad


@pytest.mark.parametrize("slug", sorted({slug for slug, _ in OVER_A_BACKBONE}))
def test_a_missing_backbone_is_named(slug: str) -> None:
    with pytest.raises(MissingPart, match="Backbone named 'main'"):
        make(slug).fit(Kit(), task(slug)[0], Run())


@pytest.mark.parametrize(("slug", "field"), NEEDS)
def test_missing_evidence_is_named(slug: str, field: str) -> None:
    with pytest.raises(MissingEvidence, match=field):
        make(slug).fit(Kit({"main": VisualBackbone()}), dataclasses.replace(task(slug)[0], **{field: None}), Run())


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
