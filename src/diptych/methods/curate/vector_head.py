"""A head on picture vectors scores every pair of a pool, and the best share, or all from a threshold on, are kept.

    s = head(z),   z: unit embedding of the picture
    keep a pair where s >= threshold; or where s is among the highest share of the pool

The threshold is given, or the lowest one that promises a precision on labelled pictures (``precision_threshold``). With
``below`` all is turned round: the lowest scores are kept, as of a head that says what is unwanted.

Aesthetic scores, NSFW filters and filters of one's own are heads: fitted by ``diptych curate head`` on labelled
pictures, or read from a safetensors file. Vectors come from the cache where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Backbone, Curator, DataError, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.ranges import between, check
from diptych.features.pool_vectors import Pictures, PoolVectors, failures, with_pictures
from diptych.features.score_counts import ScoreCounts, Scored, read_counts
from diptych.metrics.selective import precision_threshold
from diptych.nn.vector_head import VectorHead, load_head

ROWS = 256
"""Vectors that a head scores at once: their float64 copies fit a processor's cache."""


def head_threshold(head: VectorHead, precision: float, *, below: bool = False) -> float:
    """Return the score from which on (``below``: up to which) pictures are right with a given probability.

    Args:
        head: with labelled pictures that it was not fitted on.
        precision: in (0, 1).
        below: low scores are kept, and right where a picture is not what the head's name says.

    Raises:
        DataError: the head has no such pictures, or they do not reach the precision.
    """
    if not len(head.val):
        raise DataError("The head has no labelled pictures to promise a precision on: give a threshold or a share.")
    sign = -1.0 if below else 1.0
    return sign * precision_threshold(sign * head.val, head.right != below, precision)


@dataclass(frozen=True)
class VectorHeadFilter(Curator):
    """Keep the pairs whose pictures per head scores highest, or lowest.

    Use it to keep beautiful, harmless or sharp pictures, or whatever a few hundred labelled pictures of your own show.

    Args:
        head: safetensors file of the head, see ``nn.vector_head.load_head``.
        share: part of the pool that is kept, in (0, 1]; 0.3.
        threshold: least score that is kept (with ``below`` the greatest), instead of a share; None: none.
        precision: the threshold is the one that promises this share of right pictures, in (0, 1); None: none.
        below: keep low scores.

    Raises:
        UsageError: a number is out of its range, or both a threshold and a precision are given.

    Source: LAION's aesthetic predictor and NSFW filter are heads of this kind (Schuhmann et al. 2022).

    Example:
        >>> from diptych.nn.vector_head import fit_head
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(400, 4)); sharp = x[:, 0] > 0
        >>> head = fit_head(x[:200], sharp[:200], x[200:], sharp[200:], name="sharp")
        >>> kept = head.scores(x[200:]) >= head_threshold(head, 0.9)
        >>> bool(sharp[200:][kept].mean() >= 0.9)
        True
    """

    head: str = ""
    share: float = 0.3
    threshold: float | None = None
    precision: float | None = None
    below: bool = False

    def __post_init__(self) -> None:
        check(self, between(0, 1, "(]"), "share")
        check(self, between(-math.inf, math.inf), "threshold")  # not NaN, which no score reaches
        if self.precision is not None:
            check(self, between(0, 1, "()"), "precision")
            if self.threshold is not None:
                raise UsageError("A threshold and a precision are two cuts: give one of them.")

    @cached_property
    def loaded(self) -> VectorHead:
        """The head; raises UsageError where none is named, and as ``load_head``."""
        if not self.head:
            raise UsageError("vector-head needs a head: give {head}, or fit one with 'diptych curate head'.")
        return load_head(Path(self.head))

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> ScoreCounts:
        """Count the scores of all pairs.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the pool has texts alone, or the head fits another backbone.
            DataError: the file holds no head.
        """
        backbone, head = kit.need(Backbone), self.loaded
        about = {"system": "vector-head", "low": head.low, "high": head.high}
        return ScoreCounts.counted(self._identity(backbone), self._scores(backbone, stream, run), run, **about)

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each pair, with the head's score; a broken picture is dropped with its reason.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the plan is of another system, backbone or head.
            DataError: more pairs than the share have the best score, or the precision is not promised.
        """
        backbone, head = kit.need(Backbone), self.loaded
        if not isinstance(plan, ScoreCounts) or plan.backbone != self._identity(backbone):
            raise UsageError("The plan is from another system, backbone or head: plan and apply with the same one.")
        cut, sign = self.threshold, -1.0 if self.below else 1.0
        if self.precision is not None:
            cut = head_threshold(head, self.precision, below=self.below)
        counts = _turned(plan) if self.below else plan
        lowest = counts.lowest_kept(self.share) if cut is None else 0
        for some in self._scores(backbone, stream, run):
            if cut is not None:
                yield some.verdicts(sign * some.scores >= sign * cut)
            else:
                cells = plan.cells(some.scores)
                yield some.verdicts((len(plan.counts) - 1 - cells if self.below else cells) >= lowest)

    def read_plan(self, path: Path) -> ScoreCounts:
        """Read a histogram that ``ScoreCounts.write`` wrote; see ``Curator.read_plan``."""
        return read_counts(path, "vector-head")

    def _identity(self, backbone: Backbone) -> str:
        return f"{backbone.fingerprint} {self.loaded.digest}"

    def _scores(self, backbone: Backbone, stream: Stream[Any], run: Run) -> Iterator[Scored]:
        """Yield the scores of some pairs at a time."""
        head = self.loaded
        head.check(backbone.fingerprint)
        vectors = PoolVectors(run)
        for block in with_pictures(stream, "vector-head"):
            result = vectors.arrays(backbone.image, Pictures(block))
            scores = np.full(len(block), np.nan)
            for start in range(0, len(result.kept), ROWS):
                part = slice(start, start + ROWS)
                scores[result.kept[part]] = head.scores(result.values[part, 0])
            broken = failures(range(len(block)), result.kept.tolist(), result.failed)
            yield Scored(block, scores, {i: error.reason for i, error in broken.items()})


def _turned(plan: ScoreCounts) -> ScoreCounts:
    """Return the histogram of the scores with their sign changed."""
    return ScoreCounts(plan.backbone, plan.counts[::-1], plan.broken, plan.unread, plan.system, -plan.high, -plan.low)
