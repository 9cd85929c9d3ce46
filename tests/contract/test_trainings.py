"""What every system that trains a space owes its user, multiplied over the catalog."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.backbones.changes.apply import changed
from diptych.backbones.language_space import LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.core import (
    ClassNames,
    Column,
    Evidence,
    Kit,
    MissingEvidence,
    MissingPart,
    Objective,
    Recipe,
    Row,
    Run,
    Table,
    Text,
    Trained,
)
from diptych.data.formats.regions import boxes
from diptych.methods.pretrain.llm2clip import LANGUAGE
from diptych.nn.text.small_lm import SmallLM
from diptych.train import recipe
from diptych.train.captioning import WordIds
from diptych.train.log import History, Position
from diptych.train.recipe import DECODER, WORDS, train_space
from tests.support.diffusion import random_diffusion
from tests.train.test_pair import COLOURS, FIT, small, squares

CARDS = catalog.cards()
ROWS = [(c["slug"], v) for c in CARDS if c["verb"] in ("pretrain", "finetune") for v in c["variants"]]
SLUGS = sorted({slug for slug, _ in ROWS})
SHORT = replace(FIT, steps=2)


def word_ids(words: WordIds, texts: Any) -> list[list[int]]:
    return [[i for i in row if i] for row in words.ids(texts).tolist()]


class Echo:
    def write(self, asks: Any) -> list[list[Text]]:
        return [[Text(f"see {a.about}")] for a in asks]


def make(slug: str, variant: str = "") -> Objective | Recipe:
    system = catalog.find(slug)
    made = system(**system.card.variants[variant])
    assert isinstance(made, (Objective, Recipe))
    if slug == "rs-m-clip":
        return replace(made, crops=1, hidden=8, bottleneck=4, prototypes=6)  # type: ignore[type-var]
    if slug == "a-clip":
        return replace(made, hidden=8, out=4)  # type: ignore[type-var]
    if slug == "sycoca":
        return replace(made, paint_width=16, paint_depth=1)  # type: ignore[type-var]
    if slug == "clip-moe":
        return replace(made, experts=2, clusters=1)  # type: ignore[type-var]
    if slug == "grain":
        return replace(made, width=8, depth=1, heads=2, hidden=8)  # type: ignore[type-var]
    if slug == "long-clip":
        return replace(made, components=2)  # type: ignore[type-var]
    return replace(made, size=20) if slug == "vr-lwf" else made  # type: ignore[type-var]


def train(method: Objective | Recipe, space: Any, seed: int = 1, labels: bool = False) -> Trained:
    table = squares(20)
    captions = [c for own in table.columns["captions"].values for c in own]
    words = WordIds.of(captions)
    with Run().seeded("decoder"):
        lm = SmallLM(len(words), width=8, depth=1, heads=2, memory=12)
    with Run().seeded("language model"):
        reader = SmallLM(len(words), width=8, depth=1, heads=2)
    reads = LanguageText(reader, reader, partial(word_ids, words), 0, "words")
    kit = {"main": space, "writer": Echo(), LANGUAGE: reads, DECODER: lm, WORDS: words}
    if "TextDiffusion" in method.card.needs.parts:
        kit["diffusion"] = random_diffusion(small())
    if "Backbone" in method.card.needs.parts:
        kit["teacher"] = small(embed_dim=20)
    names = ClassNames(tuple(COLOURS), ("a {} square",)) if labels else None
    label = {"label": Column("label", np.arange(20) % 5)}
    halves = boxes([[0, 0, 16, 32], [16, 0, 32, 32]], "xyxy", [-1, -1])
    regions = {"boxes": Column("boxes", (halves,) * 20), "phrases": Column("captions", (("left", "right"),) * 20)}
    rows = Table(table.items, label if labels else {**table.columns, **label, **regions})
    return train_space(method, Kit(kit), Evidence(train=rows), SHORT, Run(seed=seed, workers=0), classes=names)


@pytest.mark.parametrize(("slug", "variant"), ROWS)
def test_every_row_trains_and_gives_a_space_of_the_same_shape(slug: str, variant: str) -> None:
    space = small()
    before = {n: t.clone() for n, t in space.module().state_dict().items()}
    method = make(slug, variant)
    made = train(method, space, labels=variant == "lwf")
    inner = made.space.base if isinstance(made.space, LanguageSpace) else made.space
    start = space
    for change in inner.spec.changes:
        start = changed(start, change.kind, **change.settings)
    shapes = {n: t.shape for n, t in start.module().state_dict().items()}
    assert {n: t.shape for n, t in inner.module().state_dict().items()} == shapes
    assert made.space.fingerprint != space.fingerprint
    assert all(torch.equal(t, before[n]) for n, t in space.module().state_dict().items())
    assert not made.space.module().training
    assert [r["step"] for r in made.log] == list(range(1, SHORT.steps + 1)) * (len(made.log) // SHORT.steps)
    assert all(np.isfinite(v) for r in made.log for v in r.values())


@pytest.mark.parametrize(("slug", "variant"), ROWS)
def test_every_trainee_can_be_sent_to_a_new_process(slug: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers need it that are not forked: on macOS, on Windows, and on Linux from Python 3.14 on."""
    monkeypatch.setattr(recipe, "train", passed)
    train(make(slug, variant), small(), labels=variant == "lwf")


def passed(trainee: Any, data: Any, fit: Any, run: Run, **how: Any) -> History:
    """Train a copy of the trainee that went through a pickle for one batch's views, and the trainee for none."""
    data = data.take(range(4))
    copy = pickle.loads(pickle.dumps(trainee))
    rows = [Row(data.items[i], i, "", {n: c.values[i] for n, c in data.columns.items()}) for i in range(4)]
    views = [copy.views(row, torch.Generator().manual_seed(row.index)) for row in rows]
    assert copy.collate(views).keys() == trainee.collate(views).keys()
    return History(Position(), ())


@pytest.mark.parametrize("slug", SLUGS)
def test_same_seed_same_bits_and_global_state_is_untouched(slug: str) -> None:
    def state() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),  # noqa: NPY002
            torch.get_num_threads(),
            list(warnings.filters),
        ]

    one = train(make(slug), small())
    torch.rand(3)
    before, grad = state(), torch.is_grad_enabled()
    two = train(make(slug), small())
    assert state() == before
    assert torch.is_grad_enabled() is grad
    assert one.space.fingerprint == two.space.fingerprint


@pytest.mark.parametrize("slug", SLUGS)
def test_what_is_missing_is_named(slug: str) -> None:
    with pytest.raises(MissingPart):
        train_space(make(slug), Kit(), Evidence(train=squares(20)), SHORT, Run(workers=0))
    with pytest.raises(MissingEvidence):
        train_space(make(slug), Kit({"main": small()}), Evidence(), SHORT, Run(workers=0))
