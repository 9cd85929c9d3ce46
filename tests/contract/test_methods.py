"""What every system owes its user, multiplied over the catalog."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.core import (
    Backbone,
    Card,
    Classifier,
    ClassNames,
    Column,
    EvidenceField,
    FittedClassifier,
    Hook,
    Kit,
    Method,
    MissingEvidence,
    MissingHook,
    MissingPart,
    Run,
    Scores,
    Subset,
    Table,
    Verb,
)
from diptych.core.errors import EXTRAS
from diptych.features import portable
from tests.support.backbone import SmallBackbone
from tests.support.deep_backbone import DeepBackbone
from tests.support.pictures import Pictures, task
from tests.support.visual_backbone import VisualBackbone

CARDS = catalog.cards()
SLUGS = [card["slug"] for card in CARDS]
CLASSIFIERS = [card["slug"] for card in CARDS if card["verb"] == "classify"]
ROWS = [(card["slug"], label) for card in CARDS if card["verb"] == "classify" for label in card["variants"]]
NEEDS = [(card["slug"], name) for card in CARDS if card["verb"] == "classify" for name in card["needs"]["evidence"]]
DEEP = [card["slug"] for card in CARDS if set(card["needs"]["hooks"]) - {"image", "text"}]


VISUAL = [card["slug"] for card in CARDS if "tower:image" in card["needs"]["hooks"]]


def backbone_for(slug: str, score: Literal["softmax", "sigmoid"] = "softmax") -> Backbone:
    if slug in VISUAL:
        return VisualBackbone(score=score)
    return DeepBackbone(score=score) if slug in DEEP else SmallBackbone(score=score)


SHORT: dict[str, dict[str, Any]] = {
    "dn-cbm": {"epochs": 4, "probe_epochs": 20, "vocabulary": ("fox", "tree", "cup")},
    "glsim": {"epochs": 3},
    "mocoop": {"epochs": 3},
    "nola": {"epochs": 3, "views": 2},
}
"""Long trainings are cut short here: what every system owes holds at any length."""


def make(slug: str, label: str | None = None) -> Classifier:
    method = catalog.find(slug)
    assert issubclass(method, Classifier)
    return method(**(SHORT.get(slug, {}) | ({} if label is None else dict(method.card.variants[label]))))


def fit(method: Classifier, *, classes: int = 3, seed: int = 0) -> tuple[FittedClassifier, Table[Any]]:
    names, evidence, test = task(classes)
    return method.fit(Kit({"main": backbone_for(method.card.slug)}), names, evidence, Run(seed=seed)), test


def scored(fitted: FittedClassifier, items: Any, seed: int = 0) -> Scores:
    return fitted.scores(items, Run(seed=seed))


@pytest.mark.parametrize("slug", SLUGS)
def test_card_is_complete_and_slug_is_the_file(slug: str) -> None:
    method = catalog.find(slug)
    card = method.card
    module = Path(sys.modules[method.__module__].__file__ or "")
    assert isinstance(card, Card)
    assert (card.slug, card.verb) == (module.stem.replace("_", "-"), module.parent.name)
    assert card.name
    assert card.title
    assert card.trains
    assert card.verb in get_args(Verb)
    assert set(card.needs.hooks) <= set(get_args(Hook))
    assert set(card.needs.evidence) | set(card.needs.optional) <= set(get_args(EvidenceField))
    assert re.fullmatch(r"https://\S+", card.url)
    assert 2015 <= card.year <= 2030
    assert len(card.claim) > 40
    assert card.claim.endswith(".")
    assert card.proof is not None
    assert card.proof.seeds >= 3
    assert card.proof.claim
    assert card.proof.control
    assert card.proof.datasets
    assert card.reference is None or (card.reference.url and card.reference.licence)
    assert all(h.where and h.dataset and h.backbone and h.metric for h in card.headlines)
    assert all(card.differs)
    assert card.variants
    assert method.verb in ("", card.verb)
    assert set(card.needs.extras) <= set(EXTRAS)


@pytest.mark.parametrize("slug", SLUGS)
def test_method_is_frozen_and_documented(slug: str) -> None:
    method = catalog.find(slug)
    assert issubclass(method, Method)
    assert dataclasses.is_dataclass(method)
    assert method.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "Source:" in (method.__doc__ or "")
    for f in dataclasses.fields(method):
        assert f"{f.name}: " in (method.__doc__ or ""), f"{f.name} is not documented"
        assert f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_of_the_board_fits_and_scores(slug: str, label: str) -> None:
    fitted, test = fit(make(slug, label))
    scores = scored(fitted, test.items)
    assert dataclasses.is_dataclass(fitted)
    assert fitted.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert scores.values.shape == (len(test), 3)
    assert scores.values.dtype == torch.float32
    assert not scores.values.requires_grad
    assert torch.isfinite(scores.values).all()


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_a_card_offers_what_the_fitted_classifier_gives(slug: str) -> None:
    fitted = type(fit(make(slug).transferable())[0])
    given = {
        "reasons": fitted.explain is not FittedClassifier.explain,
        "other classes": fitted.for_classes is not FittedClassifier.for_classes,
    }
    assert set(catalog.find(slug).card.offers) == {offer for offer, is_given in given.items() if is_given}


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_same_seed_same_bits(slug: str) -> None:
    (one, test), (two, _) = fit(make(slug), seed=5), fit(make(slug), seed=5)
    torch.rand(3)
    assert torch.equal(scored(one, test.items).values, scored(two, test.items).values)


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_global_state_is_untouched(slug: str) -> None:
    def state() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),  # noqa: NPY002
            random.getstate(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            list(warnings.filters),
        ]

    fit(make(slug))  # torch.optim imports sympy on first use, and sympy adds a warnings filter: not ours to answer for
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            fitted, test = fit(make(slug))
            scored(fitted, test.items)
            assert state() == before
            assert torch.is_grad_enabled() is graded


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_the_result_does_not_depend_on_grad_mode(slug: str) -> None:
    with torch.no_grad():
        still, test = fit(make(slug))
    assert torch.equal(scored(still, test.items).values, scored(fit(make(slug))[0], test.items).values)


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_inputs_and_backbone_are_not_written(slug: str) -> None:
    names, evidence, test = task()
    backbone = backbone_for(slug)
    before = {k: v.clone() for k, v in backbone.module().state_dict().items()}
    tables = [t for t in (evidence.train, evidence.val, test) if t is not None]
    keys = [[t.items.key(i) for i in range(len(t))] for t in tables]
    labels = [t.labels().copy() for t in tables]
    fitted = make(slug).fit(Kit({"main": backbone}), names, evidence, Run())
    scored(fitted, test.items)
    assert [[t.items.key(i) for i in range(len(t))] for t in tables] == keys
    assert all(np.array_equal(t.labels(), y) for t, y in zip(tables, labels, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in backbone.module().state_dict().items())
    assert not backbone.module().training


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_scoring_twice_gives_the_same_bits_and_a_batch_of_one_the_same_scores(slug: str) -> None:
    fitted, test = fit(make(slug))
    together = scored(fitted, test.items)
    assert torch.equal(together.values, scored(fitted, test.items).values)
    for i in range(len(test)):
        alone = scored(fitted, Subset(test.items, (i,)))
        torch.testing.assert_close(alone.values[0], together.values[i], rtol=1e-5, atol=1e-5)
        assert alone.kind == together.kind


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_permuting_classes_permutes_columns(slug: str) -> None:
    order = (2, 0, 3, 1)
    names, evidence, test = task(classes=4)
    kit, run = Kit({"main": backbone_for(slug)}), Run()
    moved = np.argsort(order)

    def relabel(table: Table[Any] | None) -> Table[Any] | None:
        return None if table is None else Table(table.items, {"label": Column("label", moved[table.labels()])})

    plain = make(slug).fit(kit, names, evidence, run).scores(test.items, run)
    renamed = ClassNames(tuple(names.names[k] for k in order), names.templates)
    moved_evidence = dataclasses.replace(evidence, train=relabel(evidence.train), val=relabel(evidence.val))
    permuted = make(slug).fit(kit, renamed, moved_evidence, run).scores(test.items, run)
    bound = (
        1e-2 if slug in DEEP else 1e-3
    )  # a hundred steps through a tower amplify the rounding of sums in another order
    torch.testing.assert_close(permuted.values, plain.values[:, list(order)], rtol=bound, atol=bound)


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_state_round_trip(slug: str, tmp_path: Path) -> None:
    fitted, test = fit(make(slug))
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    again = portable.load(tmp_path / "fitted", Kit({"main": backbone_for(slug)}))
    assert again.classes == fitted.classes
    assert torch.equal(scored(again, test.items).values, scored(fitted, test.items).values)


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_a_missing_backbone_is_named(slug: str) -> None:
    names, evidence, _ = task()
    with pytest.raises(MissingPart, match="Backbone named 'main'"):
        make(slug).fit(Kit(), names, evidence, Run())


@pytest.mark.parametrize(("slug", "field"), NEEDS)
def test_missing_evidence_is_named(slug: str, field: str) -> None:
    names, evidence, _ = task()
    with pytest.raises(MissingEvidence, match=field):
        make(slug).fit(Kit({"main": backbone_for(slug)}), names, dataclasses.replace(evidence, **{field: None}), Run())


@pytest.mark.parametrize("slug", [s for s in CLASSIFIERS if s in DEEP])
def test_a_missing_hook_is_named(slug: str) -> None:
    names, evidence, _ = task()
    with pytest.raises(MissingHook, match="small"):
        make(slug).fit(Kit({"main": SmallBackbone()}), names, evidence, Run())


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_no_items_give_no_rows_or_a_named_error(slug: str) -> None:
    fitted, _ = fit(make(slug))
    empty = scored(fitted, Pictures(()))
    assert empty.values.shape == (0, 3)
    assert empty.ranked().shape == (0, 3)
    assert empty.predicted().shape == (0,)


@pytest.mark.parametrize("slug", CLASSIFIERS)
def test_a_sigmoid_backbone_is_scored_with_its_bias(slug: str) -> None:
    names, evidence, test = task()
    fitted = make(slug).fit(Kit({"main": backbone_for(slug, "sigmoid")}), names, evidence, Run())
    assert torch.isfinite(fitted.scores(test.items, Run()).values).all()


@pytest.mark.parametrize("slug", SLUGS)
def test_the_card_is_listed_with_the_class_that_the_file_holds(slug: str) -> None:
    method, listed = catalog.find(slug), catalog.card(slug)
    assert (listed["module"], listed["class"]) == (method.__module__, method.__name__)
    plain = json.loads(json.dumps(method.card.as_dict()))
    assert {name: listed[name] for name in plain if name != "proof"} == {k: v for k, v in plain.items() if k != "proof"}
    assert "card" not in vars(method) or "CardBeside" in repr(vars(method)["card"]), "the card is the file beside it"


def test_every_role_that_systems_have_is_known() -> None:
    kinds = [catalog.find(slug) for slug in SLUGS]
    roles = {base.__name__ for kind in kinds for base in kind.__bases__ if issubclass(base, Method)}
    assert roles == set(catalog.ROLES)


def test_importing_and_listing_load_no_torch() -> None:
    code = (
        "import sys, diptych, diptych.catalog, diptych.cli.main;"
        "assert len(diptych.catalog.cards()) >= 5;"
        "heavy = {'torch', 'transformers', 'sklearn', 'onnxruntime'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_systems_changes_nothing() -> None:
    modules = [catalog.find(slug).__module__ for slug in SLUGS]
    code = (
        "import os, random, sys, warnings, torch, importlib\n"
        "import sympy, scipy.special, scipy.optimize, torchvision\n"  # they add filters of warnings
        "import diptych.features.embed, diptych.features.heads\n"
        "def state():\n"
        "    dice = torch.get_rng_state().tolist(), random.getstate()\n"
        "    return dict(os.environ), *dice, list(warnings.filters), torch.get_num_threads()\n"
        "for name in sys.argv[1:]:\n"
        "    before = state(); importlib.import_module(name)\n"
        "    if state() != before: sys.exit(f'the import of {name} left a trace')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
