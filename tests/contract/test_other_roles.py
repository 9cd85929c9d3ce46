"""What every auditor, scorer of pairs, curator and captioner owes its user, multiplied over the catalog."""

from __future__ import annotations

import functools
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych import catalog
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    Captioner,
    ClassNames,
    Column,
    Curator,
    DataError,
    Evidence,
    Finding,
    Kit,
    Method,
    MissingEvidence,
    MissingPart,
    PairScorer,
    Probe,
    Run,
    Subject,
    Table,
    Text,
    TextPool,
)
from diptych.core.findings import EXAMPLES
from diptych.data.edits import edit_table
from diptych.features import portable
from diptych.nn.vector_head import VectorHead
from tests.support.pictures import NAMES, Pictures, picture
from tests.support.small_clip import small_clip

CARDS = [
    card for card in catalog.cards() if card["verb"] in ("audit", "curate", "caption") and not card["needs"]["parts"]
]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
SLUGS = [card["slug"] for card in CARDS]
SAID = ("a red fox", "two oak trees", "a tea cup on a table", "a sea horse")
IMAGES = Pictures(tuple(picture(i % 4, i) for i in range(24)))
SMALL = {"queries": 2, "width": 16, "lm_width": 16, "epochs": 1, "batch": 2, "copies": 2, "tries": 2}
SMALL |= {"lm_epochs": 1, "mapping": 1, "fusion": 1, "rewarded": 2, "beams": 2}
SHORT = {"layers": 1, "least": 1, "gap": 0.0, "t": 2.0, **SMALL}
"""Small settings: a contract does not ask how good a system is."""


@dataclass(frozen=True)
class Item:
    number: int

    def image(self) -> Image.Image:
        return IMAGES[self.number]

    def text(self) -> str:
        return SAID[self.number % 4]


@dataclass(frozen=True)
class Items:
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Item(i)) for i in range(self.start, len(IMAGES)))

    def seek(self, position: int) -> Items:
        return replace(self, start=position)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@functools.cache
def head_file() -> str:
    """A head for the vectors of small_clip, of any backbone."""
    path = Path(tempfile.mkdtemp()) / "head.safetensors"
    VectorHead(((np.linspace(-1, 1, 12)[None], np.zeros(1)),)).save(path)
    return str(path)


def make(slug: str, label: str | None = None) -> Method:
    method = catalog.find(slug)
    short = {name: value for name, value in SHORT.items() if name in getattr(method, "__dataclass_fields__", {})}
    short |= {"head": head_file()} if slug == "vector-head" else {}
    return method(**{**({} if label is None else method.card.variants[label]), **short})


def evidence() -> Evidence[Any]:
    """Texts, and pictures with captions and who wrote them."""
    said = Column("captions", tuple((SAID[i % 4],) for i in range(24)))
    written = Table(IMAGES, {"captions": said, "user": Column("user", ("anna", "ben") * 12)})
    return Evidence(train=written, texts=TextPool({"": tuple(map(Text, SAID))}))


def answer(method: Method, kit: Kit, seed: int = 0, given: Evidence[Any] | None = None) -> Any:
    """Whatever a system of any of the roles says of the same images and texts, as comparable data."""
    run = Run(seed=seed)
    if isinstance(method, Auditor):
        return method.audit({"one": Subject(kit)}, audited(), run)
    if isinstance(method, PairScorer):
        scores = method.fit(kit, given or evidence(), run).score(asked(method), run)
        return scores.values.tolist(), scores.parts
    if isinstance(method, Curator):
        plan = method.plan(kit, Items(), run)
        return list(method.apply(kit, plan, Items(), run))
    assert isinstance(method, Captioner)
    return method.fit(kit, given or evidence(), run).caption(Pictures(IMAGES.images[:3]), run)


def audited() -> AuditData:
    """One table of each role: 24 pictures with every column that an audit may read."""
    labels, groups = np.arange(24) % 4, np.array([f"g{i // 4 % 2}" for i in range(24)])
    said = Column("captions", tuple((SAID[i % 4],) for i in range(24)))
    hues = Column("group", np.array(NAMES)[labels])
    table = Table(
        IMAGES,
        {"label": Column("label", labels), "group": Column("group", groups), "captions": said, "attribute": hues},
    )
    twos = Table(IMAGES, {"group": Column("group", np.array([f"pair {i // 2}" for i in range(24)])), "captions": said})
    names = ClassNames(NAMES)
    other = Table(Pictures(tuple(picture(i % 4, 50 + i, 120.0) for i in range(24))))
    return AuditData(
        {
            "own": Probe(table, "id", names),
            "noisy": Probe(Table(other.items, table.columns), "shift", names),
            "other": Probe(other, "ood"),
            "shots": Probe(table.take(range(0, 24, 2)), "train", names),
            "twos": Probe(twos, "pairs"),
        }
    )


def asked(method: PairScorer, n: int = 24) -> Table[Any]:
    """N pairs with the columns that a scorer reads."""
    texts = [SAID[i % 4] for i in range(24)]
    if method.reads == "edits":
        lists = [[f"the colour of {t}", "a picture"] for t in texts]
        return edit_table(IMAGES, IMAGES, texts, lists, [*lists[1:], lists[0]]).take(range(n))
    return Table(IMAGES, {"captions": Column("captions", tuple((t,) for t in texts))}).take(range(n))


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_same_seed_same_answer_and_global_state_is_untouched(slug: str, label: str, vit: Backbone) -> None:
    def state() -> list[Any]:
        dice = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]  # noqa: NPY002
        return [*dice, torch.get_num_threads(), list(warnings.filters)]

    weights = {k: v.clone() for k, v in vit.module().state_dict().items()}
    said = []
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            said.append(answer(make(slug, label), Kit({"main": vit}), seed=3))
            assert state() == before
            assert torch.is_grad_enabled() is graded
    assert said[0] == said[1]
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())


@pytest.mark.parametrize("slug", [c["slug"] for c in CARDS if c["needs"]["hooks"]])
def test_a_missing_backbone_is_named(slug: str) -> None:
    with pytest.raises(MissingPart, match="Backbone named 'main'"):
        answer(make(slug), Kit())


@pytest.mark.parametrize("slug", [c["slug"] for c in CARDS if "texts" in c["needs"]["evidence"]])
def test_missing_texts_are_named(slug: str, vit: Backbone) -> None:
    with pytest.raises(MissingEvidence):
        answer(make(slug), Kit({"main": vit}), given=Evidence())


@pytest.mark.parametrize("slug", [c["slug"] for c in CARDS if "train" in c["needs"]["evidence"]])
def test_missing_images_are_named(slug: str, vit: Backbone) -> None:
    with pytest.raises(MissingEvidence):
        answer(make(slug), Kit({"main": vit}), given=Evidence())


@pytest.mark.parametrize("slug", SLUGS)
def test_a_plan_comes_back_and_verdicts_do_not_depend_on_the_start(slug: str, vit: Backbone, tmp_path: Path) -> None:
    method, kit, run = make(slug), Kit({"main": vit}), Run()
    if not isinstance(method, Curator):
        pytest.skip("only curators plan")
    plan = method.plan(kit, Items(), run)
    plan.write(tmp_path / "plan")
    whole = list(method.apply(kit, method.read_plan(tmp_path / "plan"), Items(), run))
    assert list(method.apply(kit, plan, Items().seek(7), run)) == whole[7:]
    assert [v.position for v in whole] == list(range(24))


@pytest.mark.parametrize("slug", SLUGS)
def test_state_round_trip(slug: str, vit: Backbone, tmp_path: Path) -> None:
    method, kit, run = make(slug), Kit({"main": vit}), Run()
    ask: Callable[[Any], Any]
    if isinstance(method, PairScorer):
        table = asked(method)
        fitted, ask = method.fit(kit, evidence(), run), lambda f: f.score(table, run).values.tolist()
    elif isinstance(method, Captioner):
        fitted, ask = method.fit(kit, evidence(), run), lambda f: f.caption(IMAGES, run)
    else:
        pytest.skip("auditors and curators hold no state")
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    assert ask(portable.load(tmp_path / "fitted", kit)) == ask(fitted)


@pytest.mark.parametrize("slug", SLUGS)
def test_an_empty_set_gets_an_empty_answer(slug: str, vit: Backbone) -> None:
    method, kit, run = make(slug), Kit({"main": vit}), Run()
    if isinstance(method, PairScorer):
        scores = method.fit(kit, evidence(), run).score(asked(method, 0), run)
        assert scores.values.shape == (0,)
        assert scores.parts == ()
        assert all(len(column) == 0 for column in scores.columns.values())
    elif isinstance(method, Captioner):
        assert method.fit(kit, evidence(), run).caption(Pictures(()), run) == []
    else:
        pytest.skip("auditors and curators are asked about whole sets")


@pytest.mark.parametrize("slug", SLUGS)
def test_findings_are_about_the_subjects_and_their_examples_are_items(slug: str, vit: Backbone) -> None:
    method, data = make(slug), audited()
    if not isinstance(method, Auditor):
        pytest.skip("only auditors find")
    subjects = {"one": Subject.of(vit), "two": Subject.of(vit)}
    assert method.lacks(subjects, data) == ""
    findings = method.audit(subjects, data, Run())
    assert {f.subject for f in findings} == set(subjects)
    keys = {name: {p.table.items.key(i) for i in range(len(p.table))} for name, p in data.probes.items()}
    for finding in findings:
        assert isinstance(finding, Finding)
        assert len(finding.examples) <= EXAMPLES
        assert all(e.key in keys[e.probe] for e in finding.examples)
        assert finding.measure.isidentifier()
        assert finding.count is None or finding.count >= 0
        if finding.interval and finding.value is not None:
            assert finding.interval[0] - 1e-6 <= finding.value <= finding.interval[1] + 1e-6


@pytest.mark.parametrize("slug", SLUGS)
def test_missing_tables_are_named_before_anything_is_encoded(slug: str, vit: Backbone) -> None:
    method = make(slug)
    if not isinstance(method, Auditor):
        pytest.skip("only auditors read tables")
    lack = method.lacks({"one": Subject.of(vit)}, AuditData())
    if not lack:
        pytest.skip("this audit makes its own data")
    with pytest.raises(DataError) as error:
        method.audit({"one": Subject.of(vit)}, AuditData(), Run())
    assert str(error.value) == lack
