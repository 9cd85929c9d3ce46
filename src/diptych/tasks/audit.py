"""Audit models on grouped photos, and pairs of photo and caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diptych.backbones.provenance import record_of
from diptych.core.audit import AuditData, Auditor, PairScorer, Part, Subject
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import DataError, UnreadableItem
from diptych.core.findings import Finding
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.keys import FileKeys
from diptych.features.embed import embed_readable
from diptych.metrics.detection import false_alarm_threshold
from diptych.nn.text.word_spans import PUNCTUATION
from diptych.tasks.classify import with_store
from diptych.tasks.clean import shipped


def audit_groups(
    table: Table[Any],
    classes: ClassNames,
    backbones: Sequence[Backbone],
    run: Run | None = None,
    *,
    method: Auditor | None = None,
) -> tuple[list[Finding], tuple[UnreadableItem, ...]]:
    """Measure how much accuracy backbones lose between the groups of a table.

    Args:
        table: N items with the columns "label" and "group".
        classes: K names.
        backbones: the subjects, by their names; the first is the reference.
        run: device, cache and seed; None: a plain CPU run.
        method: any auditor of grouped items; None is CounterAnimal.

    Returns:
        The findings, and the items that were left out because a file cannot be read.

    Raises:
        DataError: fewer than two readable items, nothing is testable, or as the method says.
    """
    from diptych.methods.audit.counteranimal import CounterAnimal

    with with_store(run or Run()) as stored:
        subjects = {b.spec.name: Subject(Kit.of(b), record_of(b.spec)) for b in backbones}
        found = embed_readable(backbones[0].image, table.items, stored)
        if len(found.kept) < 2:
            raise DataError("Fewer than two photos can be read: an audit needs several in each class and group.")
        kept = table.take(found.kept.tolist()) if found.failed else table
        findings = (method or CounterAnimal()).audit(subjects, AuditData.single(kept, classes), stored)
    if not any(f.testable for f in findings):
        raise DataError(findings[0].reason)
    return findings, found.failed


def group_auditor(gap: float, least: int, selection: str) -> Auditor:
    """Return what finds the groups between which accuracy drops.

    Args:
        gap: accuracies of the two groups must differ by more.
        least: items that a class must have in a group, in each half.
        selection: "half" or "all".
    """
    from diptych.methods.audit.counteranimal import CounterAnimal

    return CounterAnimal(gap=gap, least=least, selection="half" if selection == "half" else "all")


def group_prompt() -> str:
    """Return the prompt of the audit of groups."""
    from diptych.methods.audit.counteranimal import PROMPT

    return PROMPT


def pair_auditor(choice: str, threshold: float) -> PairScorer:
    """Return what judges the words of captions.

    Args:
        choice: "threshold" or "most-negative".
        threshold: words below this attribution are wrong.
    """
    from diptych.methods.audit.clip4dm import CLIP4DM

    return CLIP4DM(choice="threshold" if choice == "threshold" else "most-negative", threshold=threshold)


@dataclass(frozen=True)
class RightWords:
    """From which attribution on a word is marked, by right captions of photos that ship.

    Args:
        threshold: words below it are marked.
        rate: share of right words that are marked all the same, at most.
        words, captions: right words and captions on which the rate is held.
        marked_captions: share of these captions with a marked word.
    """

    threshold: float
    rate: float
    words: int
    captions: int
    marked_captions: float


def right_words(backbone: Backbone, run: Run, rate: float, keys: FileKeys | None = None) -> RightWords:
    """Return the threshold that right words of right captions fall below with probability of at most ``rate``.

    Args:
        backbone: of the scorer.
        run: device and cache.
        rate: in (0, 1).
        keys: remembers content keys.

    Raises:
        DataError: the words that ship are too few for the rate.
        MissingHook: the backbone has no text tower.
    """
    rows = audit_pairs(shipped(keys), backbone, run, method=pair_auditor("threshold", 0.0)).rows
    lows = [[p.weight for p in row.parts if p.text not in PUNCTUATION] for row in rows]
    weights = np.array([w for own in lows for w in own])
    least = math.ceil(round(1 / rate - 1, 9)) if 0 < rate < 1 else 0
    if len(weights) < least:
        raise DataError(
            f"{len(weights)} right words that ship cannot hold a rate of {rate:g}: give a --word-rate from "
            f"{1 / (len(weights) + 1):.2g} on, or --threshold."
        )
    threshold = -false_alarm_threshold(-weights, rate)
    marked = float(np.mean([min(own, default=0.0) < threshold for own in lows]))
    return RightWords(threshold, rate, len(weights), len(rows), marked)


@dataclass(frozen=True)
class AuditedPair:
    """What was found about one pair.

    Args:
        name: of the image.
        index: its row.
        text: the caption.
        score: of the scorer; higher is better.
        cosine: of image and caption.
        parts: words of the caption with their attributions; () where the scorer gives none.
    """

    name: str
    index: int
    text: str
    score: float
    cosine: float
    parts: tuple[Part, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AuditedPairs:
    """All pairs, the worst first, and the images that cannot be read.

    Args:
        rows: by score, then by row.
        failed: one error an image.
    """

    rows: tuple[AuditedPair, ...]
    failed: tuple[UnreadableItem, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "pairs": [r.as_dict() for r in self.rows],
            "skipped": [e.as_dict() for e in self.failed],
        }


def audit_pairs(
    pairs: Table[Any], backbone: Backbone, run: Run | None = None, *, method: PairScorer | None = None
) -> AuditedPairs:
    """Score pairs of image and caption, and rank them.

    Args:
        pairs: N images with the column "captions", or edited images with the columns of ``data.edits``, as the scorer
            reads.
        backbone: of the scorer.
        run: device and cache; None: a plain CPU run.
        method: any scorer of pairs; None is CLIP4DM.

    Raises:
        MissingHook, UsageError, DataError: as the method says.
    """
    from diptych.methods.audit.clip4dm import CLIP4DM

    scorer = method or CLIP4DM()
    with with_store(run or Run()) as stored:
        found = embed_readable(backbone.image, pairs.items, stored)
        kept = pairs.take(found.kept.tolist()) if found.failed else pairs
        scored = scorer.fit(Kit.of(backbone), Evidence(), stored).score(kept, stored)
    texts = [str(next(iter(own))) for own in kept.columns["captions"].values]
    cosine, parts = scored.columns.get("cosine", scored.values), scored.parts or ((),) * len(kept)
    rows = [
        AuditedPair(
            kept.items.name(i), int(found.kept[i]), texts[i], float(scored.values[i]), float(cosine[i]), parts[i]
        )
        for i in range(len(kept))
    ]
    return AuditedPairs(tuple(sorted(rows, key=lambda r: (r.score, r.index))), found.failed)
