"""Audit models on grouped photos, and pairs of photo and caption."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import cosine_similarity

from diptych.backbones.provenance import subject_of
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    ClassNames,
    DataError,
    Evidence,
    Finding,
    Kit,
    PairScorer,
    Part,
    Run,
    Table,
    Texts,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import none_readable
from diptych.data.keys import FileKeys
from diptych.features.embed import embed, embed_readable
from diptych.metrics.conformal import false_alarm_shares
from diptych.nn.text.word_spans import PUNCTUATION, first_captions, with_captions
from diptych.tasks.classify import with_store
from diptych.tasks.clean import shipped
from diptych.tasks.defaults import default

NEVER_WRONG = PUNCTUATION | {"a", "an", "the", "of", "and", "in", "on", "at", "by", "to", "with", "is", "are"}
"""Parts of a caption that say little about a photo."""

EQUAL = 1e-6
"""Cosines that differ by less fit equally: those of one pair do in two batches."""


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
    with with_store(run or Run()) as stored:
        subjects = {b.spec.name: subject_of(b) for b in backbones}
        readable, failed = embed_readable(backbones[0].image, table.items, stored).rows(table)
        if len(readable) < 2:
            raise DataError("Fewer than two photos can be read: an audit needs several in each class and group.")
        findings = (method or default("audit groups", Auditor)).audit(
            subjects, AuditData.single(readable, classes), stored
        )
    if not any(f.testable for f in findings):
        raise DataError(findings[0].reason)
    return findings, failed


@dataclass(frozen=True)
class RightCaptions:
    """How well right captions fit their photos: what another caption is held against.

    Args:
        cosines: (n,) of right captions and their photos.
        rate: share of right captions that stand out all the same, at most; in (0, 1).
        source: where they come from; "" for photos that ship.
        clothes: how many of those photos are of clothes.
    """

    cosines: NDArray[np.float64]
    rate: float
    source: str = ""
    clothes: int = 0

    def shares(self, cosines: Sequence[float]) -> NDArray[np.float64]:
        """Return how often a right caption fits as badly, (N,) in [1 / (n + 1), 1]; see ``false_alarm_shares``."""
        return false_alarm_shares(-np.asarray(cosines, dtype=np.float64) - EQUAL, -self.cosines)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"rate": self.rate, "captions": len(self.cosines), "source": self.source, "clothes": self.clothes}


def right_captions(
    backbone: Backbone,
    run: Run,
    rate: float,
    clean: Table[Any] | None = None,
    *,
    source: str = "",
    keys: FileKeys | None = None,
) -> RightCaptions:
    """Measure how well right captions fit their photos.

    Args:
        backbone: of the scorer.
        run: device and cache.
        rate: share of right captions that may stand out, in (0, 1).
        clean: n pairs of photo and right caption, of the same kind as the pairs to audit and none of them; rows whose
            caption is empty or too long are left out. None: photos that ship, most of them of clothes.
        source: of the pairs, for reports.
        keys: remembers content keys.

    Raises:
        UsageError: a rate outside (0, 1).
        DataError: the pairs are too few for the rate.
    """
    if not 0 < rate < 1:
        raise UsageError(f"The share of right captions that may stand out must be in (0, 1), got {rate}: give 0.05.")
    table = shipped(keys) if clean is None else clean
    with with_store(run) as stored:
        scorer: Any = default("audit pairs", PairScorer)
        table = table.take(_read_whole(table, backbone, scorer)[0])
        embedded = embed_readable(backbone.image, table.items, stored)
        readable, _ = embedded.rows(table)
        texts = Texts(tuple(scorer.template + text for text in first_captions(readable)))
        cosines = cosine_similarity(embedded.values, embed(backbone.text, texts, stored)).double().numpy()
    if len(cosines) < (need := math.ceil(round(1 / rate - 1, 9))):
        raise DataError(
            f"{len(cosines)} right captions are too few for a rate of {rate:g}: give {need} or more, or a higher "
            f"{{rate}}, from "
            f"{1 / (len(cosines) + 1):.2g} on."
        )
    worn = 0 if clean is not None else list(table.columns["kinds"].values).count("clothes")
    return RightCaptions(cosines, rate, source, worn)


@dataclass(frozen=True)
class AuditedPair:
    """What was found about one pair.

    Args:
        score: of the scorer; higher is better.
        parts: words of the caption with their attributions; () where the scorer gives none.
        right_share: how often a right caption fits as badly; None where no right captions were measured.
        stands_out: whether that is at most the rate.
    """

    name: str
    index: int
    text: str
    score: float
    cosine: float
    parts: tuple[Part, ...]
    right_share: float | None = None
    stands_out: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AuditedPairs:
    """All pairs, the worst first, and those that cannot be judged.

    Args:
        rows: by score, then by row; by cosine where right captions were measured.
        failed: an error of each image that cannot be read, and of each row without a caption, or with one
            that is longer than the text tower reads.
        right: the right captions that were measured.
    """

    rows: tuple[AuditedPair, ...]
    failed: tuple[UnreadableItem, ...]
    right: RightCaptions | None = None

    def as_csv(self) -> str:
        """Return one line per pair, the worst first: path, caption, stands_out, cosine, score, word."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["path", "caption", "stands_out", "cosine", "score", "word"])
        for row in self.rows:
            out = "" if row.stands_out is None else "yes" if row.stands_out else "no"
            words = ", ".join(part.text for part in row.parts if part.chosen)
            writer.writerow([row.name, row.text, out, f"{row.cosine:.6f}", f"{row.score:.6g}", words])
        return text.getvalue()

    def against(self, right: RightCaptions) -> AuditedPairs:
        """Say which captions stand out among right ones, the worst first. Only they have a marked word, the most
        negative one that is no article, preposition or the like.
        """
        shares = right.shares([r.cosine for r in self.rows])
        rows = [
            replace(
                row, right_share=float(share), stands_out=(out := bool(share <= right.rate)),
                parts=_marked(row.parts, out),
            )
            for row, share in zip(self.rows, shares, strict=True)
        ]  # fmt: skip
        return AuditedPairs(tuple(sorted(rows, key=lambda r: (r.cosine, r.index))), self.failed, right)


def _marked(parts: tuple[Part, ...], stands_out: bool) -> tuple[Part, ...]:
    """Mark the most negative word that can be wrong about a photo, where the caption stands out."""
    able = [p for p in parts if p.weight < 0 and p.text.lower() not in NEVER_WRONG] if stands_out else []
    lowest = min(able, key=lambda p: p.weight, default=None)
    return tuple(replace(p, chosen=p is lowest) for p in parts)


def audit_pairs(
    pairs: Table[Any], backbone: Backbone, run: Run | None = None, *, method: PairScorer | None = None
) -> AuditedPairs:
    """Score pairs of image and caption, and rank them; rows whose caption is empty, or longer than the text tower
    reads, are left out and named as failed.

    Args:
        pairs: N images with the column "captions", or edited images with the columns of ``data.edits``, as the scorer
            reads.
        backbone: of the scorer.
        run: device and cache; None: a plain CPU run.
        method: any scorer of pairs; None is CLIP4DM.

    Raises:
        MissingHook, UsageError, DataError: as the method says.
        DataError: no caption can be read.
    """
    scorer = method or default("audit pairs", PairScorer)
    whole, unread = _read_whole(pairs, backbone, scorer)
    if unread and not whole:
        raise DataError(none_readable(len(unread), "pairs", unread))
    pairs = pairs.take(whole)
    with with_store(run or Run()) as stored:
        embedded = embed_readable(backbone.image, pairs.items, stored)
        readable, _ = embedded.rows(pairs)
        scored = scorer.fit(Kit.of(backbone), Evidence(), stored).score(readable, stored)
    texts = [str(next(iter(captions))) for captions in readable.columns["captions"].values]
    cosine, parts = scored.columns.get("cosine", scored.values), scored.parts or ((),) * len(readable)
    rows = [
        AuditedPair(
            readable.items.name(i),
            whole[int(embedded.kept[i])],
            texts[i],
            float(scored.values[i]),
            float(cosine[i]),
            parts[i],
        )
        for i in range(len(readable))
    ]
    return AuditedPairs(tuple(sorted(rows, key=lambda r: (r.score, r.index))), (*embedded.failed, *unread))


def _read_whole(
    pairs: Table[Any], backbone: Backbone, scorer: PairScorer
) -> tuple[list[int], tuple[UnreadableItem, ...]]:
    """Return the rows whose caption has words and is read whole, and why others are not."""
    filled, template = with_captions(pairs), getattr(scorer, "template", "")
    texts = {i: template + text for i, text in zip(filled, first_captions(pairs.take(filled)), strict=True)}
    empty = [UnreadableItem(pairs.items.name(i), "has no caption") for i in range(len(pairs)) if i not in texts]
    whole, long = list[int](), list[UnreadableItem]()
    for i, text in texts.items():
        try:
            backbone.text.inputs([text])
            whole.append(i)
        except UsageError:
            long.append(
                UnreadableItem(pairs.items.name(i), f"has a caption that is longer than {backbone.spec.name} reads")
            )
    return whole, (*empty, *long)
