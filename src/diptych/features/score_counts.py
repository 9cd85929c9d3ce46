"""A histogram of the scores of a pool: a plan from which a share of the pool is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Plan, Run, UsageError, Verdicts
from diptych.core.blocks import Block
from diptych.core.curate import NAMED
from diptych.core.wording import no_plan
from diptych.data.files import write_whole

BINS = 2000
"""Cells of the histogram, evenly over the range of the scores: of cosines each is 0.001 wide."""


Scores = NDArray[np.float64]


class Scored(NamedTuple):
    """The scores of a block of pairs.

    Args:
        block: N pairs.
        scores: (N,), NaN where there is none.
        reasons: number of a pair among them -> why it has none.
    """

    block: Block
    scores: Scores
    reasons: Mapping[int, str]

    def verdicts(self, keep: NDArray[np.bool_]) -> Verdicts:
        """Return a verdict for each pair; one that has no score is dropped with its reason."""
        if self.reasons:
            keep[list(self.reasons)] = False
        return Verdicts(self.block.positions, keep, self.scores, self.reasons)


@dataclass(frozen=True)
class ScoreCounts(Plan):
    """A histogram of the scores of a pool.

    Args:
        backbone: fingerprint of the backbone, and of the head where there is one, that gave the scores.
        counts: (BINS,) uint64, number of pairs in each cell.
        broken: pairs whose image or text cannot be read.
        unread: name and reason of the first ``NAMED`` of them.
        low: lower end of the scores.
        high: upper end of the scores; scores outside the range are counted in the cells at its ends.
    """

    backbone: str
    counts: NDArray[np.uint64]
    broken: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    system: str = "clip-score"
    low: float = -1.0
    high: float = 1.0

    @classmethod
    def of(cls, backbone: str, scores: Iterable[float], **about: Any) -> ScoreCounts:
        """Return the histogram of some scores; ``about`` are further fields."""
        block = Block.of(())
        return cls.counted(backbone, [Scored(block, np.fromiter(scores, dtype=np.float64), {})], Run(), **about)

    @classmethod
    def counted(cls, backbone: str, scored: Iterable[Scored], run: Run, **about: Any) -> ScoreCounts:
        """Return the histogram of pairs that are scored some at a time."""
        plan = cls(backbone, np.zeros(BINS, dtype=np.uint64), **about)
        broken, unread = 0, list[tuple[str, str]]()
        with run.track("score pairs") as bar:
            for some in scored:
                scores = np.delete(some.scores, list(some.reasons)) if some.reasons else some.scores
                plan.counts[:] += np.bincount(plan.cells(scores), minlength=BINS).astype(np.uint64)
                broken += len(some.reasons)
                unread += [(some.block.name(i), some.reasons[i]) for i in sorted(some.reasons)[: NAMED - len(unread)]]
                bar.advance(len(some.scores))
        return cls(backbone, plan.counts, broken, tuple(unread), **about)

    def cells(self, scores: Scores) -> NDArray[np.int64]:
        """Return the cells of (N,) scores, (N,) in [0, BINS); of a NaN 0."""
        places = (scores - self.low) / (self.high - self.low) * BINS
        return np.fmin(np.fmax(places, 0), BINS - 1).astype(np.int64)

    def cell(self, score: float) -> int:
        """Return the cell of a score, in [0, BINS)."""
        return int(self.cells(np.array([score]))[0])

    def edge(self, cell: int) -> float:
        """Return the lower end of a cell."""
        return self.low + (self.high - self.low) * cell / BINS

    def merge(self, other: ScoreCounts) -> ScoreCounts:
        """Add the counts; raises UsageError where the backbones differ."""
        if self.backbone != other.backbone:
            raise UsageError(
                f"Plans of two backbones, {self.backbone} and {other.backbone}, cannot be merged: score both with one."
            )
        unread = (*self.unread, *other.unread)[:NAMED]
        about = self.system, self.low, self.high
        return ScoreCounts(self.backbone, self.counts + other.counts, self.broken + other.broken, unread, *about)

    def lowest(self, share: float) -> int:
        """Return the lowest cell of which pairs are kept, so that at most ``share`` of all pairs, broken ones too, are.

        Args:
            share: in (0, 1].
        """
        above = np.cumsum(self.counts[::-1].astype(np.float64))
        return BINS - int(np.searchsorted(above, share * (above[-1] + self.broken), side="right"))

    def lowest_kept(self, share: float) -> int:
        """Return ``lowest``, of a pool of which a share can be kept.

        Raises:
            DataError: more pairs than the share have the best score, so that none would be kept.
        """
        lowest, pairs = self.lowest(share), int(self.counts.sum())
        if not pairs or self.counts[lowest:].any():
            return lowest
        best = int(np.flatnonzero(self.counts)[-1])
        tied = int(self.counts[best])
        needed = tied / (pairs + self.broken)
        raise DataError(
            f"{tied} of {pairs + self.broken} pairs have the best score, {self.edge(best):.3f}, and a share of "
            f"{share:g} keeps none of them: give a share of {math.ceil(1000 * needed) / 1000:g} or more, or a "
            f"threshold."
        )

    def report(self) -> dict[str, Any]:
        """Return the numbers of pairs and of broken pairs, and the score that the highest 30 %, or ties, reach."""
        occupied = np.flatnonzero(self.counts)
        lowest = min(self.lowest(0.3), int(occupied[-1]) if len(occupied) else BINS)
        return {
            "pairs": int(self.counts.sum()) + self.broken,
            "broken": self.broken,
            "best_30_percent": round(self.edge(lowest), 3),
        }

    def write(self, path: Path) -> None:
        """Write JSON."""
        data = {
            "diptych": self.system,
            "backbone": self.backbone,
            "counts": self.counts.tolist(),
            "broken": self.broken,
            "unread": self.unread,
            "range": [self.low, self.high],
        }
        write_whole(path, json.dumps(data), overwrite=True)


def read_counts(path: Path, system: str) -> ScoreCounts:
    """Read what ``ScoreCounts.write`` wrote; raises DataError where it is absent, damaged or of another system."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array(data["counts"], dtype=np.uint64)
        if data["diptych"] != system or counts.shape != (BINS,):
            raise ValueError("another plan")
        unread = tuple((str(name), str(reason)) for name, reason in data.get("unread", ()))
        low, high = (float(end) for end in data.get("range", (-1.0, 1.0)))
        if not low < high:
            raise ValueError("an empty range")
        return ScoreCounts(str(data["backbone"]), counts, int(data["broken"]), unread, system, low, high)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(no_plan(path, system, error)) from None
