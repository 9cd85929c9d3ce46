"""Curators on photos, some of whose captions were exchanged: the share of right pairs among those kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from diptych import catalog
from diptych.core import Backbone, Curator, DataError, Kit, MissingPart, Plan, Run, UnreadableItem
from diptych.core.settings import parted, with_settings
from diptych.data.words.metaclip_entries import WORDNET, entries
from diptych.evaluation.arms import CHANCE, RATIOS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.boards.caption_pool import Bools, CaptionPool, Captions, Numbers, Pairs, PhotoPair
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.methods.curate.metaclip import MetaCLIP, entry_probabilities, keep_probabilities
from diptych.methods.curate.vector_head import VectorHeadFilter
from diptych.nn.text.substrings import Matcher

RANDOM = "random"
Score: TypeAlias = Callable[["CurateBench", Pairs, Any, Run], tuple[Floats, Mapping[str, float]]]
"""(bench, P pairs, (P,) whether each is kept, run) -> (N, ...) values and further numbers."""
SpoilKept: TypeAlias = Callable[["CurateBench", Curator, Pairs, Run], Bools]
"""(bench, curator, pairs, run) -> (P,) whether each pair is kept, in place of the curator's own answer."""


def by_photo(bench: CurateBench, pairs: Pairs, keep: Bools, run: Run) -> tuple[Floats, Mapping[str, float]]:
    """Return (N, 2) pairs of each photo that are kept, and those of them that are right; "kept", a share of the pairs;
    "balance"; and "photos", the number of photos in what is kept, divided by that in as many pairs at random.
    """
    counts = [np.bincount(pairs.photos, which, len(bench.pool.photos)) for which in (keep, keep & pairs.right)]
    order = bench.order(pairs, run)
    balance = bench.balance(pairs.captions[keep], pairs.captions[order])
    photos = len(np.unique(pairs.photos[keep])) / len(np.unique(pairs.photos[order[: keep.sum()]]))
    return np.stack(counts, axis=1), {"kept": float(keep.mean()), "balance": balance, "photos": photos}


@dataclass
class CurateBench:
    """How curators are measured: each seed makes other pairs. On a board, gains are over as many pairs at random.

    Beside the precision stand "kept", a share of the pairs; "balance", see ``balance``; "photos", see ``by_photo``; and
    "t" of metaclip.

    Args:
        metadata: entries of metaclip and of the balance; see ``data.words.metaclip_entries``. None: there is no
            balance.
        report: facts of the result in place of the board's.
        settings: of curators, in place of those that keep about the share of the pool.
        head: file of vector-head's head; "": it does not run.

    Raises:
        UsageError: there is no such metadata file.
        DataError: it holds no entries, or the captions name none of them.
    """

    pool: CaptionPool
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    metadata: str | None = WORDNET
    score: Score = by_photo
    metric: str = "precision"
    statistic: Statistic = RATIOS
    report: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    head: str = ""
    always: tuple[Arm, ...] = (Arm(RANDOM),)
    answers: dict[tuple[Any, int], Bools] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.texts = self.pool.texts
        self.rows, self.matches = np.zeros((2, 0), dtype=np.int64)
        if self.metadata is not None:  # matched once: a seed moves captions, and changes none
            self.rows, self.matches = Matcher(entries(self.metadata)).match(self.texts)
            if not len(self.matches):
                raise DataError(
                    f"The captions of {self.pool.name} name no entry of {self.metadata}: give {{metadata}} that fit "
                    f"them."
                )

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos that cannot be read."""
        return self.pool.failed

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, sizes and shares."""
        sizes = {"dataset": self.pool.name, "items": len(self.texts), "photos": len(self.pool.photos)}
        return self.report or {
            **sizes,
            "entries_met": len(np.unique(self.matches)),
            "wrong": self.pool.wrong,
            "keep": self.pool.keep,
            "metadata": self.metadata,
            **({"head": self.head} if self.head else {}),
        }

    def measure(self, arm: Arm) -> Measured:
        """Plan and apply on the pairs of every seed, and score what is kept.

        Random pairs are as many as a curator is to keep; chance keeps each pair with that probability.
        """
        drawn = arm.system in (RANDOM, CHANCE)
        system: Any = arm.system if drawn or not isinstance(arm.system, str) else self.curator(arm.system, arm.variant)
        more = {"t": system.t} if self.score is by_photo and math.isfinite(getattr(system, "t", math.inf)) else {}

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            pairs = self.pool.pairs(run)
            if arm.system == RANDOM:
                keep = np.zeros(len(pairs.right), dtype=bool)
                keep[self.order(pairs, run)[: round(self.pool.keep * len(keep))]] = True
            elif arm.system == CHANCE:
                keep = np.full(len(pairs.right), self.pool.keep)
            else:
                spoil: SpoilKept = arm.spoil or shared_selection
                keep = spoil(self, system, pairs, run)
            if not keep.any():
                raise DataError(
                    f"{arm.system} kept none of the {len(keep)} pairs: its share or threshold leaves nothing "
                    f"to measure."
                )
            values, others = self.score(self, pairs, keep, run)
            return values, {**others, **more}

        return over_seeds(once, self.run, self.seeds, draws=True)

    def selected(
        self, system: Curator, pairs: Pairs, run: Run, change: Callable[[Any], Plan] = lambda plan: plan
    ) -> Bools:
        """Return (P,) whether a curator keeps each pair.

        Args:
            system: plans and applies.
            pairs: in the order of the stream.
            run: its seed draws.
            change: spoils the plan.
        """
        opened = lru_cache(maxsize=1)(
            self.pool.photos.__getitem__
        )  # the pairs of a photo follow each other, and decoding takes longest
        captioned = zip(pairs.photos.tolist(), pairs.captions.tolist(), strict=True)
        stream = Captions(tuple(PhotoPair(opened, i, self.texts[k]) for i, k in captioned))
        kit = Kit({"main": self.backbone})
        plan = change(system.plan(kit, stream, run))
        return np.array([v.keep for v in system.apply(kit, plan, stream, run)])

    def order(self, pairs: Pairs, run: Run) -> Numbers:
        """Return the P pairs in a random order."""
        return np.random.default_rng(run.integer("random pairs")).permutation(len(pairs.right))

    def balance(self, positions: Numbers, chosen: Numbers) -> float:
        """Return the effective number of entries in kept captions, divided by that in as many captions at random.

            exp( - sum over the entries e of q_e log q_e ),  q_e: share of e among all entries that the captions name

        That many entries, each named equally often, would be as even. More captions name more entries, hence the
        division.

        Args:
            positions: (K,) numbers of captions.
            chosen: (P,) all of them in a random order.
        """
        return self._effective(positions) / self._effective(chosen[: len(positions)])

    def _effective(self, numbers: Numbers) -> float:
        held = np.isin(self.rows, numbers)
        counts = np.unique(self.matches[held], return_counts=True)[1]
        shares = counts / counts.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def curator(self, slug: str, variant: str = "") -> Curator:
        """Return a curator that keeps about the share asked for, where its variant does not say what it keeps."""
        system = catalog.find(slug, Curator)
        if system.creates:
            raise MissingPart(f"{slug} makes pairs of pictures without texts, and here are pairs.")
        given: dict[str, Any] = {}
        if issubclass(system, VectorHeadFilter):
            if not self.head:
                raise MissingPart(
                    f"{slug} needs a head on labelled pictures: fit one by curate head, and give {{head}}."
                )
            given = {"head": self.head, "share": self.pool.keep}
        elif issubclass(system, MetaCLIP):
            given = {
                "metadata": self.metadata,
                "t": threshold(self.rows, self.matches, len(self.texts), self.pool.keep),
            }
        elif issubclass(system, CLIPScoreFilter):
            given = {"share": self.pool.keep}
        row, settings = parted(variant)
        return with_settings(system(**{**given, **self.settings, **system.card.variants[row]}), settings)


def shared_selection(bench: CurateBench, system: Curator, pairs: Pairs, run: Run) -> Bools:
    """Return what a curator keeps; arms that start from the same answer share it."""
    key = system, run.seed
    if key not in bench.answers:
        bench.answers[key] = bench.selected(system, pairs, run)
    return bench.answers[key]


def threshold(rows: Numbers, matches: Numbers, texts: int, share: float) -> float:
    """Return the t, 1 or above, with which MetaCLIP can be expected to keep a share of the texts, or comes closest to
    it; ``matches`` are the entries that ``rows``, numbers of texts, name.
    """
    counts = np.bincount(matches).astype(np.uint64)
    low, high = 0.0, math.log(counts.max())
    for _ in range(40):  # the share grows with t
        middle = (low + high) / 2
        mean = keep_probabilities(rows, matches, entry_probabilities(counts, math.exp(middle)), texts).mean()
        low, high = (middle, high) if mean < share else (low, middle)
    return math.exp(low)
