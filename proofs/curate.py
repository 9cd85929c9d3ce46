"""Proofs of curation, such as: at equal size and length, balanced captions name rare things more often."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from diptych.core import Backbone, Curator, Run, Table
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats
from diptych.evaluation.boards.caption_pool import Bools, CaptionPool, Numbers, Pairs
from diptych.evaluation.boards.curate import CurateBench, shared_selection
from diptych.features.entry_counts import EntryCounts
from proofs.benches.picture_kinds import WORDS, open_kinds, permuted_clusters
from proofs.benches.planted_faults import (
    AT_RANDOM,
    HASHES,
    HASHES_IN_CELLS,
    IDENTICAL,
    IN_CELLS,
    LAPLACIAN,
    LIKE_LENGTH,
    LUCK,
    MIRRORED,
    OTHER_HASHES,
    OTHER_VECTORS,
    PERMUTED,
    SHORTEST,
    SHUFFLED,
    open_captions,
    open_copies,
    open_degraded,
)
from proofs.benches.slide_wall import BY_WORDS, COVERAGE, open_wall
from proofs.benches.slide_wall import RANDOM as RANDOM_TILES
from proofs.trial import Claim, Trial, hash_of_words

HEAD = 0.05
"""Share of the entries met that lies above t; the paper's 20,000 puts about 3 % there."""
RANDOM = "as many captions of the same lengths at random"


class AllRight(CaptionPool):
    """Every caption with its own photo."""

    def pairs(self, run: Run) -> Pairs:
        """Return the pairs as they are."""
        return Pairs(self.owners, np.arange(len(self.texts)), np.ones(len(self.texts), dtype=bool))


class OneCaption(CaptionPool):
    """A caption a photo, and half of the photos with the caption of another."""

    def draw(self, run: Run) -> tuple[Pairs, Numbers]:
        """Return the pairs of a seed, and then an order of the photos."""
        rng, counts = np.random.default_rng(run.integer("mismatch")), [len(captions) for captions in self.captions_of]
        first = np.cumsum([0, *counts[:-1]])
        captions = first + np.array([int(rng.integers(count)) for count in counts])
        moved = rng.permutation(len(counts))[: len(counts) // 2]
        captions[moved] = captions[np.roll(moved, 1)]
        right = ~np.isin(np.arange(len(counts)), moved)
        return Pairs(np.arange(len(counts)), captions, right), rng.permutation(len(counts))

    def pairs(self, run: Run) -> Pairs:
        """Draw one caption per photo, and exchange those of half of the photos."""
        return self.draw(run)[0]


def open_balance(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> CurateBench:
    """Open all captions of a set. Value of a rare entry: the share of its captions that is kept."""
    pool = AllRight(*_captions(open_data(present(name), need="captions", text="caption_*").whole(), name))
    bench = CurateBench(pool, backbone, run, seeds, score=tail_recall, metric="tail_recall", statistic=MEANS)
    met = np.bincount(bench.matches)
    met = met[met > 0]
    bench.settings = {"t": float(np.quantile(met, 1 - HEAD, method="lower"))}
    curator, runs = bench.curator("metaclip"), [replace(run, seed=seed) for seed in seeds]
    bench.report = {
        "data_hash": hashlib.sha256("\0".join(pool.texts).encode()).hexdigest(),
        "items": len(pool.texts),
        **bench.settings,
        "entries_met": len(met),
        "rare_entries": int((met <= bench.settings["t"]).sum()),
        "matched_share": len(np.unique(bench.rows)) / len(pool.texts),
        "kept_share": float(
            np.mean([shared_selection(bench, curator, pool.pairs(seeded), seeded).mean() for seeded in runs])
        ),
    }
    return bench


def open_mismatch(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> CurateBench:
    """Open captioned photos; seeds draw one caption per photo, and the half that is exchanged."""
    data = open_data(present(name), need="captions", text="caption_*")
    table = data.split("val" if "val" in data.splits else next(iter(data.splits)))
    pool = OneCaption(*_captions(table, name), wrong=0.5)
    facts = {"data_hash": hash_of_words(table.items, pool.texts), "items": len(table)}
    return CurateBench(pool, backbone, run, seeds, None, accuracy, "accuracy", MEANS, facts)


def tail_recall(bench: CurateBench, pairs: Pairs, keep: Any, run: Run) -> tuple[Floats, Mapping[str, float]]:
    """Return the share of its captions that is kept, of each rare entry."""
    counts = np.bincount(bench.matches)
    rare = np.flatnonzero((counts > 0) & (counts <= bench.settings["t"]))
    named = np.bincount(bench.matches[keep[bench.rows]], minlength=len(counts))
    return named[rare] / counts[rare].astype(np.float64), {}


def accuracy(bench: CurateBench, pairs: Pairs, keep: Any, run: Run) -> tuple[Floats, Mapping[str, float]]:
    """Return whether each right pair is kept and each wrong one is not; of a probability, how often that is so."""
    return np.where(pairs.right, keep, 1.0 - keep), {}


def permuted_entries(bench: CurateBench, curator: Curator, pairs: Pairs, run: Run) -> Bools:
    """Return what is kept where the counts of the entries met are given to other entries met."""

    def change(plan: EntryCounts) -> EntryCounts:
        rng, met = np.random.default_rng(run.integer("permuted entries")), np.flatnonzero(plan.counts)
        counts = plan.counts.copy()
        counts[met] = plan.counts[rng.permutation(met)]
        return replace(plan, counts=counts)

    return bench.selected(curator, pairs, run, change)


def of_equal_length(of: Any, bench: CurateBench, curator: Curator, pairs: Pairs, run: Run) -> Bools:
    """Return what ``of`` keeps, permuted among captions that name equally many entries."""
    keep: Bools = of(bench, curator, pairs, run)
    lengths = np.bincount(bench.rows, minlength=len(keep))
    rng, out = np.random.default_rng(run.integer("shuffled verdicts")), keep.copy()
    for n in np.unique(lengths):
        of_length = np.flatnonzero(lengths == n)
        out[of_length] = keep[rng.permutation(of_length)]
    return out


def other_photos(bench: CurateBench, curator: Curator, pairs: Pairs, run: Run) -> Bools:
    """Return what is kept where every caption is judged by another photo."""
    assert isinstance(bench.pool, OneCaption)
    return bench.selected(curator, replace(pairs, photos=bench.pool.draw(run)[1]), run)


def _captions(table: Table[Any], name: str) -> tuple[str, Any, tuple[tuple[str, ...], ...]]:
    return name, table.items, tuple(tuple(texts) for texts in table.columns["captions"].values)


def _not_over(baselines: Sequence[str], arm: Arm) -> tuple[Claim, ...]:
    """Return what a control must not gain: over each baseline of the claims, and over chance where that is harder."""
    return tuple(Claim(name, arm=arm, base=Arm(name)) for name in baselines)


_CHECKED_OVER = (IDENTICAL, SHORTEST, LIKE_LENGTH, LUCK)
_AT_RANDOM, _PERMUTED_AT_RANDOM = (
    Arm("metaclip", spoil=partial(of_equal_length, of)) for of in (shared_selection, permuted_entries)
)
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "metaclip": Trial(
            (Claim(RANDOM, base=_AT_RANDOM),),
            controls=(Claim(RANDOM, arm=Arm("metaclip", spoil=permuted_entries), base=_PERMUTED_AT_RANDOM),),
            bench=open_balance,
        ),
        "clip-score": Trial(
            (Claim("half", base=Arm(CHANCE)),),
            controls=(Claim("half", arm=Arm("clip-score", spoil=other_photos), base=Arm(CHANCE)),),
            bench=open_mismatch,
        ),
        "biomedica": Trial(
            (Claim(WORDS, base=Arm(WORDS)),),
            controls=_not_over((WORDS, CHANCE), Arm("biomedica", spoil=permuted_clusters)),
            bench=open_kinds,
        ),
        "semdedup": Trial(
            tuple(map(Claim, (HASHES, IDENTICAL, AT_RANDOM))),
            variant="either",
            controls=(
                Claim(HASHES, arm=Arm("semdedup", spoil=OTHER_VECTORS), name=OTHER_VECTORS),
                Claim(MIRRORED, arm=Arm("semdedup", spoil=OTHER_HASHES), name=OTHER_HASHES),
            ),
            beside={name: Arm(name) for name in (MIRRORED, IN_CELLS, HASHES_IN_CELLS)},
            bench=open_copies,
        ),
        "vector-head": Trial(
            (Claim(WORDS, base=Arm(WORDS)), Claim(LAPLACIAN, base=Arm(LAPLACIAN))),
            controls=_not_over((WORDS, LAPLACIAN, CHANCE), Arm("vector-head", spoil=PERMUTED)),
            bench=open_degraded,
        ),
        "caption-checks": Trial(
            tuple(Claim(name, base=Arm(name)) for name in _CHECKED_OVER),
            controls=_not_over(_CHECKED_OVER, Arm("caption-checks", spoil=SHUFFLED)),
            bench=open_captions,
        ),
        "pathgen": Trial(
            (Claim(RANDOM_TILES), Claim(BY_WORDS, part=COVERAGE)),
            controls=(Claim(RANDOM_TILES, arm=Arm("pathgen", spoil="permuted")),),
            beside={"words alone": Arm(BY_WORDS), "coverage at random": Claim(RANDOM_TILES, part=COVERAGE)},
            bench=open_wall,
        ),
    }
)
