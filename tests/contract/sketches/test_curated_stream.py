"""MetaCLIP: one pass counts, plans merge, a second pass keeps or drops, and the loop trains on what is kept, from any
place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diptych.core.data import Stream
from diptych.core.run import Run
from diptych.core.train import Clock, ParamGroup, Row, Trainee
from diptych.train.loop import train
from diptych.train.schedule import Fit
from diptych.train.streams import Streamed

ENTRIES = ("cat", "dog", "axolotl")


@dataclass(frozen=True)
class Plan:
    """How often each entry was met: a commutative monoid, so shards are counted anywhere and merged."""

    counts: Counter[str] = field(default_factory=Counter)

    def merge(self, other: Plan) -> Plan:
        return Plan(self.counts + other.counts)


@dataclass(frozen=True)
class Verdict:
    position: int
    keep: bool


@dataclass(frozen=True)
class MetaClip:
    """Keep a text with probability 1 - prod over its entries of (1 - min(1, t / count))."""

    t: int

    def plan(self, stream: Iterable[tuple[int, str]]) -> Plan:
        return Plan(Counter(e for _, text in stream for e in matched(text)))

    def keep(self, text: str, plan: Plan) -> float:
        return 1.0 - float(np.prod([1 - min(1.0, self.t / plan.counts[e]) for e in matched(text)]))

    def apply(self, plan: Plan, stream: Iterable[tuple[int, str]], run: Run) -> Iterator[Verdict]:
        for position, text in stream:
            draw = torch.rand((), generator=run.generator(f"keep/{position}"))  # by position, so that shards agree
            yield Verdict(position, bool(draw < self.keep(text, plan)))


def matched(text: str) -> set[str]:
    return {e for e in ENTRIES if e in text}


@dataclass(frozen=True)
class Captions:
    """Texts at byte offsets."""

    texts: tuple[str, ...]
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        offset = 0
        for text in self.texts:
            if offset >= self.start:
                yield offset, text
            offset += len(text) + 1

    def seek(self, position: int) -> Captions:
        return replace(self, start=position)


@dataclass(frozen=True)
class Curated:
    """A stream of what a curator keeps: itself a stream, with the same positions."""

    stream: Stream[str]
    curator: MetaClip
    plan: Plan
    run: Run

    def __iter__(self) -> Iterator[tuple[int, str]]:
        verdicts = self.curator.apply(self.plan, self.stream, self.run)
        return ((position, text) for (position, text), v in zip(self.stream, verdicts, strict=True) if v.keep)

    def seek(self, position: int) -> Curated:
        return replace(self, stream=self.stream.seek(position))


class Counting(Trainee):
    """Learns the share of each entry."""

    def __init__(self) -> None:
        self.net = nn.Linear(1, 3, bias=False)
        nn.init.zeros_(self.net.weight)
        self.texts: list[str] = []

    def module(self) -> nn.Module:
        return self.net

    def groups(self) -> list[ParamGroup]:
        return [ParamGroup(("weight",))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        return {"text": row.item, "target": torch.tensor([float(e in row.item) for e in ENTRIES])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        self.texts += batch["text"]
        return {"fit": (self.net(torch.ones(1, 1)) - batch["target"]).pow(2).mean()}


def corpus() -> Captions:
    rng = np.random.default_rng(0)
    words = rng.choice(
        ["a cat", "a dog", "a cat and a dog", "an axolotl", "IMG_0042"], size=2000, p=[0.55, 0.3, 0.05, 0.02, 0.08]
    )
    return Captions(tuple(f"{w} {i:04d}" for i, w in enumerate(words)))


RUN, T = Run(seed=5, workers=0), 60
FIT = Fit(lr=0.2, batch=16, steps=9, decay=0.0, save_every=2)


def test_plans_of_shards_merge_in_any_order() -> None:
    items, curator = list(corpus()), MetaClip(T)
    parts = [curator.plan(items[i : i + 700]) for i in range(0, 2000, 700)]
    whole = curator.plan(items)
    assert parts[0].merge(parts[1]).merge(parts[2]) == parts[2].merge(parts[0]).merge(parts[1]) == whole
    assert whole.merge(Plan()) == whole


def test_head_is_thinned_tail_is_kept_noise_is_dropped() -> None:
    curator, stream = MetaClip(T), corpus()
    plan = curator.plan(stream)
    kept = Counter(e for _, text in Curated(stream, curator, plan, RUN) for e in matched(text))
    assert kept["axolotl"] == plan.counts["axolotl"]
    for head in ("cat", "dog"):
        assert plan.counts[head] > 500
        assert T / 2 < kept[head] < 3 * T
    assert curator.keep("IMG_0042", plan) == 0.0
    assert all(
        v.keep == bool(matched(text))
        for v, (_, text) in zip(MetaClip(10**9).apply(plan, stream, RUN), stream, strict=True)
    )


def test_the_loop_trains_on_the_curated_stream_and_resumes_in_its_middle(tmp_path) -> None:
    curator = MetaClip(T)
    curated = Curated(corpus(), curator, curator.plan(corpus()), RUN)
    whole, cut, again = Counting(), Counting(), Counting()
    in_order = Streamed(curated, shuffle=1)
    train(whole, in_order, FIT, RUN)
    assert whole.texts == [text for _, text in curated][: 9 * 16]
    assert len(set(whole.texts)) == 9 * 16
    losses = cut.losses
    cut.losses = lambda b, p, c: 1 / 0 if c.step == 5 else losses(b, p, c)  # type: ignore[method-assign]
    run = replace(RUN, out=tmp_path)
    with pytest.raises(ZeroDivisionError):
        train(cut, in_order, FIT, run)
    train(again, in_order, FIT, run, resume=True)
    assert again.texts == whole.texts[4 * 16 :]
    assert torch.equal(whole.net.weight, again.net.weight)
