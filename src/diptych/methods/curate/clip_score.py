"""CLIP-score filter keeps the pairs of a pool whose image and text have a high cosine.

    c = cos(image, text)
    keep a pair where c >= threshold; without a threshold, where c is among the highest share of the pool

c: cosine of the two (D,) embeddings of a pair, in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import Backbone, Curator, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.ranges import between, check
from diptych.features.pair_cosines import pair_cosines
from diptych.features.score_counts import ScoreCounts, read_counts


@dataclass(frozen=True)
class CLIPScoreFilter(Curator):
    """Keep the pairs of a pool with the highest cosines of image and text.

    Use it to remove pairs whose text does not describe the image. A share fits any backbone; a threshold fits one.

    Args:
        share: part of the pool that is kept, in (0, 1]; 0.3 (the baseline of DataComp).
        threshold: least cosine that is kept, in [-1, 1], instead of a share; None (default) keeps by ``share``.
            With ViT-B/32, LAION-400M's is 0.3 and LAION-5B's, for English, 0.28.

    Raises:
        UsageError: a number is out of its range.

    Source: Schuhmann et al. 2021 and 2022 (thresholds), Gadre et al. 2023 (share).

    Example:
        Cosines of 0.1, 0.2, 0.3 and 0.4; the better half is kept:

        >>> plan = ScoreCounts.of("backbone", (0.1, 0.2, 0.3, 0.4))
        >>> [c for c in (0.1, 0.2, 0.3, 0.4) if plan.cell(c) >= plan.lowest(0.5)]
        [0.3, 0.4]
    """

    share: float = 0.3
    threshold: float | None = None

    def __post_init__(self) -> None:
        check(self, between(0, 1, "(]"), "share")
        check(self, between(-1, 1), "threshold")

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> ScoreCounts:
        """Count the cosines of all pairs, a chunk of pairs in memory at a time.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the pool has texts alone.
        """
        backbone = kit.need(Backbone)
        return ScoreCounts.counted(backbone.fingerprint, pair_cosines(backbone, stream, "clip-score", run), run)

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each pair, with the cosine as its score.

        Broken pairs are dropped, and their verdict holds the reason.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the plan is from another system or another backbone.
            DataError: more pairs than the share have the best score.
        """
        backbone = kit.need(Backbone)
        if not isinstance(plan, ScoreCounts) or plan.backbone != backbone.fingerprint:
            raise UsageError("The plan is from another system or backbone: plan and apply with the same one.")
        lowest = plan.lowest_kept(self.share) if self.threshold is None else 0
        for some in pair_cosines(backbone, stream, "clip-score", run):
            cosines = some.scores
            yield some.verdicts(plan.cells(cosines) >= lowest if self.threshold is None else cosines >= self.threshold)

    def read_plan(self, path: Path) -> ScoreCounts:
        """Read a histogram that ``ScoreCounts.write`` wrote; see ``Curator.read_plan``."""
        return read_counts(path, "clip-score")
