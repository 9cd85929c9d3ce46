"""Audit models on grouped photos, and pairs of photo and caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diptych.core.audit import Auditor, Finding, PairScorer, Part
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import DataError, UnreadableItem
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.features.embed import embed_readable
from diptych.tasks.classify import with_store


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
        DataError: fewer than two readable items, or as the method says.
    """
    from diptych.methods.audit.counteranimal import CounterAnimal

    with with_store(run or Run()) as stored:
        subjects: Mapping[str, Kit] = {b.spec.name: Kit({"main": b}) for b in backbones}
        found = embed_readable(backbones[0].image, table.items, stored)
        if len(found.kept) < 2:
            raise DataError("Fewer than two photos can be read: an audit needs several in each class and group.")
        kept = table.take(found.kept.tolist()) if found.failed else table
        return (method or CounterAnimal()).audit(subjects, classes, kept, stored), found.failed


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
class AuditedPair:
    """What was found about one pair.

    Args:
        name: of the image.
        index: its row.
        text: the caption.
        score: of the scorer; higher is better.
        cosine: of image and caption.
        parts: words of the caption with their attributions.
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
        pairs: N images with the column "captions".
        backbone: of the scorer.
        run: device and cache; None: a plain CPU run.
        method: any scorer of pairs; None is CLIP4DM.

    Raises:
        MissingHook, UsageError, DataError: as the method says.
    """
    from diptych.methods.audit.clip4dm import CLIP4DM

    with with_store(run or Run()) as stored:
        found = embed_readable(backbone.image, pairs.items, stored)
        kept = pairs.take(found.kept.tolist()) if found.failed else pairs
        scored = (method or CLIP4DM()).fit(Kit.of(backbone), Evidence(), stored).score(kept, stored)
    texts = [str(next(iter(own))) for own in kept.columns["captions"].values]
    cosine = scored.columns.get("cosine", scored.values)
    rows = [
        AuditedPair(
            kept.items.name(i), int(found.kept[i]), texts[i], float(scored.values[i]), float(cosine[i]), scored.parts[i]
        )
        for i in range(len(kept))
    ]
    return AuditedPairs(tuple(sorted(rows, key=lambda r: (r.score, r.index))), found.failed)
