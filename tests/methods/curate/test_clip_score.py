from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import Backbone, DataError, Kit, Run, UnreadableItem, UsageError
from diptych.core.blocks import chunks
from diptych.features.score_counts import BINS, ScoreCounts
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.store.store import Store
from tests.support.backbone import SmallBackbone, TextEncoder
from tests.support.pictures import picture
from tests.support.refused import refused

KIT = Kit({"main": SmallBackbone()})


@dataclass(frozen=True)
class Item:
    number: int
    name: str = "p"

    def image(self) -> Image.Image:
        if self.number == 5:
            raise UnreadableItem("5.png", "truncated")
        return picture(self.number % 4, self.number)

    def text(self) -> str:
        return f"word{self.number % 7} of {self.number}"


@dataclass(frozen=True)
class Items:
    count: int = 40
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Item(i)) for i in range(self.start, self.count))

    def seek(self, position: int) -> Items:
        return replace(self, start=position)


def test_scores_are_cosines_and_the_share_is_kept() -> None:
    method = CLIPScoreFilter(share=0.5)
    plan = method.plan(KIT, Items(), Run())
    assert (int(plan.counts.sum()), plan.broken) == (39, 1)
    verdicts = list(method.apply(KIT, plan, Items(), Run()))
    b = SmallBackbone()
    for v in verdicts[:5]:
        with torch.no_grad():
            z = b.image.encode(b.image.inputs([Item(v.position).image()]))
            t = b.text.encode(b.text.inputs([Item(v.position).text()]))
        assert v.score == pytest.approx(float(torch.nn.functional.cosine_similarity(z, t)[0]), abs=1e-5)
    assert (verdicts[5].keep, verdicts[5].reason) == (False, "truncated")
    kept = sorted((v.score for v in verdicts if v.keep), reverse=True)
    assert 15 <= len(kept) <= 20
    assert kept == sorted((v.score for v in verdicts if not v.reason), reverse=True)[: len(kept)]
    assert sum(v.keep for v in CLIPScoreFilter(share=1.0).apply(KIT, plan, Items(), Run())) == 39
    fixed = list(CLIPScoreFilter(threshold=0.1).apply(KIT, plan, Items(), Run()))
    assert [v.keep for v in fixed] == [not v.reason and v.score >= 0.1 for v in verdicts]


@dataclass(frozen=True)
class ShortText(TextEncoder):
    """Reads three words."""

    def inputs(self, items: Sequence[str], size: int | None = None) -> torch.Tensor:
        if long := next((t for t in items if len(t.split()) > 3), None):
            raise UsageError(f"The text {long!r} has {len(long.split())} tokens and this model reads 3.")
        return super().inputs(items, size)


class ShortBackbone(SmallBackbone):
    @property
    def encoders(self) -> Mapping[str, Any]:
        return {**super().encoders, "text": ShortText("short-text")}


class Told(Item):
    def text(self) -> str:
        if self.number == 9:
            raise UnreadableItem("9.txt", "is not UTF-8 text")
        return f"{super().text()} and more words than it reads" if self.number in (5, 7) else super().text()


class ToldItems(Items):
    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Told(i)) for i in range(self.start, self.count))


def test_a_text_that_is_too_long_or_broken_drops_its_pair_alone() -> None:
    kit, method = Kit({"main": ShortBackbone()}), CLIPScoreFilter(share=1.0)
    plan = method.plan(kit, ToldItems(), Run())
    assert (int(plan.counts.sum()), plan.broken) == (37, 3)
    verdicts = list(method.apply(kit, plan, ToldItems(), Run()))
    reasons = {v.position: v.reason for v in verdicts if v.reason}
    assert [(p, r.split()[0]) for p, r in reasons.items()] == [(5, "truncated"), (7, "The"), (9, "is")]
    assert "tokens and this model reads 3" in reasons[7]
    assert all(np.isnan(v.score) and not v.keep for v in verdicts if v.reason)
    assert all(v.keep for v in verdicts if not v.reason)
    plain = {v.position: v.score for v in method.apply(kit, plan, Items(), Run())}
    assert all(v.score == pytest.approx(plain[v.position], abs=1e-6) for v in verdicts if not v.reason)
    alone = list(method.apply(kit, plan, ToldItems(6, 5), Run()))  # a chunk of which nothing can be scored
    assert [(v.position, v.keep) for v in alone] == [(5, False)]


def test_a_share_that_ties_leave_empty_is_refused() -> None:
    plan = ScoreCounts(KIT.need(Backbone).fingerprint, np.zeros(BINS, dtype=np.uint64), broken=1)
    plan.counts[1300], plan.counts[900] = 5, 4
    with pytest.raises(DataError, match=r"5 of 10 pairs have the best score, 0\.300, .* a share of 0\.5 or more"):
        list(CLIPScoreFilter(share=0.3).apply(KIT, plan, Items(1), Run()))
    assert plan.counts[plan.lowest_kept(0.5) :].sum() == 5
    assert len(list(CLIPScoreFilter(threshold=0.0).apply(KIT, plan, Items(1), Run()))) == 1
    assert plan.report()["best_30_percent"] == 0.3
    nothing = ScoreCounts(plan.backbone, np.zeros(BINS, dtype=np.uint64))
    assert nothing.lowest_kept(0.3) == nothing.lowest(0.3)
    assert nothing.report()["pairs"] == 0


def test_plans_merge_and_come_back(tmp_path: Path) -> None:
    method = CLIPScoreFilter()
    whole = method.plan(KIT, Items(), Run())
    merged = method.plan(KIT, Items(20), Run()).merge(method.plan(KIT, Items().seek(20), Run()))
    assert (merged.counts == whole.counts).all()
    assert merged.broken == whole.broken
    whole.write(tmp_path / "plan.json")
    again = method.read_plan(tmp_path / "plan.json")
    assert (again.counts == whole.counts).all()
    assert again.report()["pairs"] == 40
    with pytest.raises(DataError, match="no plan of clip-score"):
        method.read_plan(tmp_path / "absent.json")


def test_a_pass_reads_the_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("diptych.core.blocks.chunks", partial(chunks, size=8))
    monkeypatch.setattr("diptych.store.layers.Store", lambda folder: opened.append(folder) or Store(folder))
    method, run = CLIPScoreFilter(), Run(cache=tmp_path)
    plan = method.plan(KIT, Items(), run)
    assert len(opened) == 1
    alone = method.plan(KIT, Items(), Run())
    assert (plan.counts.sum(), plan.broken) == (alone.counts.sum(), alone.broken)
    list(method.apply(KIT, plan, Items(), run))
    assert len(opened) == 2


def test_bad_input_is_named() -> None:
    other = ScoreCounts("other", np.zeros(BINS, dtype=np.uint64))
    with pytest.raises(UsageError, match="Plans of two backbones"):
        CLIPScoreFilter().plan(KIT, Items(1), Run()).merge(other)
    with pytest.raises(UsageError, match="other"):
        list(CLIPScoreFilter().apply(KIT, other, Items(), Run()))
    refused(CLIPScoreFilter, {"share": 0.0})
