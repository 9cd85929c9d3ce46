"""CLIP-score filter: keep the pairs whose image and text a CLIP finds alike.

c = cos(image, text);  keep where c >= threshold, or where c is among the best share of the pool
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.curate import Curator, Plan, Verdict
from diptych.core.data import Stream, Texts
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.ranges import between, check
from diptych.core.run import Run
from diptych.data.files import write_whole
from diptych.data.memory import InMemory
from diptych.features.embed import embed, embed_readable

BINS = 2000
"""Cells of the histogram of cosines, over [-1, 1]: a share is met to 0.001 of a cosine."""
CHUNK = 256
"""Pairs in memory at once."""
NAMED = 10
"""Pairs that cannot be read of which a plan keeps names and reasons."""


def cosines(backbone: Backbone, stream: Stream[Any], run: Run) -> Iterator[tuple[int, str, float, str]]:
    """Yield position, name, cosine of image and text (NaN where there is none), and why not: one is broken, or the text
    too long.

    Raises:
        UsageError: the stream is of texts alone.
    """
    source = iter(stream)
    while some := list(islice(source, CHUNK)):
        positions, items = [p for p, _ in some], [item for _, item in some]
        if any(isinstance(item, str) for item in items):
            raise UsageError(
                "clip-score compares images with texts, and this pool has texts alone: give a table or tars, or use "
                "metaclip."
            )
        images = InMemory(items, [str(getattr(item, "name", p)) for p, item in some])
        found = embed_readable(backbone.image, images, run)
        kept: list[int] = found.kept.tolist()
        texts, refused = _texts(backbone, [items[i] for i in kept], run)
        at = dict(zip(kept, (normalize(found.values, dim=-1) * normalize(texts, dim=-1)).sum(-1).tolist(), strict=True))
        broken = dict(zip(sorted({*range(len(items))}.difference(kept)), (e.reason for e in found.failed), strict=True))
        broken |= {kept[k]: reason for k, reason in refused.items()}
        for i, position in enumerate(positions):
            yield position, images.name(i), at.get(i, math.nan), broken.get(i, "")


def _texts(backbone: Backbone, items: Sequence[Any], run: Run) -> tuple[Tensor, dict[int, str]]:
    """Return (N, D) embeddings of texts, NaN where one is broken or longer than the backbone reads, and why it is."""
    texts: dict[int, str] = {}
    broken: dict[int, str] = {}
    for i, item in enumerate(items):
        try:
            texts[i] = item.text()
        except UnreadableItem as error:
            broken[i] = error.reason
    try:
        values = embed(backbone.text, Texts(tuple(texts.values())), run)
    except UsageError:
        refused = {i: reason for i, text in texts.items() if (reason := _refusal(backbone, text))}
        if not refused:
            raise
        broken |= refused
        texts = {i: text for i, text in texts.items() if i not in refused}
        values = embed(backbone.text, Texts(tuple(texts.values())), run)
    whole = torch.full((len(items), backbone.text.dim), math.nan)
    whole[list(texts)] = values
    return whole, broken


def _refusal(backbone: Backbone, text: str) -> str:
    try:
        backbone.text.inputs([text])
    except UsageError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class ScoreCounts(Plan):
    """A histogram of cosines.

    Args:
        backbone: fingerprint of the backbone that gave them.
        counts: (BINS,) uint64 pairs a cell.
        broken: pairs whose image or text cannot be read.
        unread: name and reason of the first ``NAMED`` of them.
    """

    backbone: str
    counts: NDArray[np.uint64]
    broken: int = 0
    unread: tuple[tuple[str, str], ...] = ()

    def merge(self, other: ScoreCounts) -> ScoreCounts:
        """Add the counts; raises UsageError where the backbones differ."""
        if self.backbone != other.backbone:
            raise UsageError("Two plans of different backbones cannot be merged: score both with the same one.")
        unread = (*self.unread, *other.unread)[:NAMED]
        return ScoreCounts(self.backbone, self.counts + other.counts, self.broken + other.broken, unread)

    def lowest(self, share: float) -> int:
        """Return the lowest cell that stays when the best ``share`` of all pairs, broken ones counted, is kept, or a
        little less.
        """
        above = np.cumsum(self.counts[::-1].astype(np.float64))
        return BINS - int(np.searchsorted(above, share * (above[-1] + self.broken), side="right"))

    def report(self) -> dict[str, Any]:
        """Return pairs, those whose image or text cannot be read, and the cosine that the best 30 % reach."""
        return {
            "pairs": int(self.counts.sum()) + self.broken,
            "broken": self.broken,
            "best_30_percent": round(2 * self.lowest(0.3) / BINS - 1, 3),
        }

    def write(self, path: Path) -> None:
        """Write JSON."""
        data = {
            "diptych": "clip-score",
            "backbone": self.backbone,
            "counts": self.counts.tolist(),
            "broken": self.broken,
            "unread": self.unread,
        }
        write_whole(path, json.dumps(data), overwrite=True)


@dataclass(frozen=True)
class CLIPScoreFilter(Curator):
    """Keep the pairs that are most alike.

    Args:
        share: of the pool that stays, in (0, 1] (0.3, the baseline of DataComp).
        threshold: keep cosines of at least this instead, in [-1, 1] (LAION's: 0.28 with ViT-B/32); None: by ``share``.

    Raises:
        UsageError: a number out of its range.

    Source: Schuhmann et al. 2021 (threshold), Gadre et al. 2023 (share).
    """

    share: float = 0.3
    threshold: float | None = None

    card: ClassVar[Card] = Card(
        slug="clip-score",
        name="CLIP-score filter",
        title="LAION-400M: Open Dataset of CLIP-Filtered 400 Million Image-Text Pairs",
        url="https://arxiv.org/abs/2111.02114",
        year=2021,
        verb="curate",
        claim="Pairs that a trained CLIP finds alike are better to train on than all pairs of the web.",
        needs=Needs(hooks=("image", "text")),
        trains="nothing",
        differs=("The share is met on a histogram of 0.001 in the cosine, so that plans of parts can be merged.",),
        proof=ProofPlan(
            claim="Of captions, half of which stand beside another photo, the better half by score are right more "
            "often than half.",
            control="With the photos permuted among the pairs they are right no more often than half.",
            datasets=("flickr8k_small", "coco_mini"),
        ),
        baseline=True,
        variants={"": {}, "0.28": {"threshold": 0.28}},
    )

    def __post_init__(self) -> None:
        check(self, between(0, 1, "(]"), "share")
        check(self, between(-1, 1), "threshold")

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> ScoreCounts:
        """Score every pair once. Memory: ``CHUNK`` pairs.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the pool has texts alone.
        """
        backbone = kit.need(Backbone)
        counts, broken, unread = np.zeros(BINS, dtype=np.uint64), 0, list[tuple[str, str]]()
        with run.track("score pairs") as bar:
            for _, name, cosine, reason in cosines(backbone, stream, run):
                if reason:
                    broken += 1
                    unread += [(name, reason)] * (len(unread) < NAMED)
                else:
                    counts[_cell(cosine)] += np.uint64(1)
                bar.advance()
        return ScoreCounts(backbone.fingerprint, counts, broken, tuple(unread))

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        """Yield a verdict a pair, its score the cosine; pairs whose image or text cannot be read are dropped and say
        why.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the plan is another system's, or another backbone's.
        """
        backbone = kit.need(Backbone)
        if not isinstance(plan, ScoreCounts) or plan.backbone != backbone.fingerprint:
            raise UsageError("The plan is of another system or backbone: plan and apply with the same.")
        lowest = plan.lowest(self.share)
        for position, _, cosine, reason in cosines(backbone, stream, run):
            keep = not reason and (_cell(cosine) >= lowest if self.threshold is None else cosine >= self.threshold)
            yield Verdict(position, keep, cosine, reason)

    def read_plan(self, path: Path) -> ScoreCounts:
        """Read a histogram; see ``Curator.read_plan``."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            counts = np.array(data["counts"], dtype=np.uint64)
            if data["diptych"] != "clip-score" or counts.shape != (BINS,):
                raise ValueError("another plan")
            unread = tuple((str(name), str(reason)) for name, reason in data.get("unread", ()))
            return ScoreCounts(str(data["backbone"]), counts, int(data["broken"]), unread)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise DataError(
                f"{path} is no plan of clip-score ({str(error)[:80]}): write one with diptych curate plan."
            ) from None


def _cell(cosine: float) -> int:
    return min(BINS - 1, max(0, int((cosine + 1) / 2 * BINS)))
