"""Write captions of photos, and measure captions against references and by a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from diptych.core.backbone import Backbone
from diptych.core.caption import Captioner, FittedCaptioner
from diptych.core.data import Evidence, Samples, Subset, Text, Texts
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.features.embed import embed, embed_readable
from diptych.metrics.caption import bleu, cider_d, clip_score, rouge_l
from diptych.tasks.classify import with_store

PROMPT = "A photo depicts "
"""Stands before a caption that CLIPScore judges."""


@dataclass(frozen=True)
class Captioned:
    """Captions of photos.

    Args:
        positions: (M,) of the photos that could be read.
        names: what the user calls them.
        captions: M lists, the best first.
        failed: one error for each other photo.
        cut: sentences of which the method learnt the beginning alone, being longer than it reads.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    captions: tuple[tuple[Text, ...], ...]
    failed: tuple[UnreadableItem, ...]
    cut: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [
            {"path": n, "captions": [t.value for t in own]} for n, own in zip(self.names, self.captions, strict=True)
        ]
        return {
            "photos": rows,
            "skipped": [e.as_dict() for e in self.failed],
            "cut_sentences": self.cut,
        }


def caption(
    photos: Samples[Any],
    evidence: Evidence[Any],
    backbone: Backbone,
    run: Run | None = None,
    *,
    method: Captioner | None = None,
    n: int = 1,
) -> Captioned:
    """Write captions of photos.

    Args:
        photos: N images.
        evidence: what the method learns from: sentences, for those that ship.
        backbone: of the captioner.
        run: device, cache and seed; None: a plain CPU run.
        method: any captioner; None is the nearest caption.
        n: captions a photo, at most.

    Raises:
        DataError: there is no photo.
        MissingHook, MissingEvidence, UsageError: as the method says.
    """
    from diptych.methods.caption.nearest_caption import NearestCaption

    if len(photos) == 0:
        raise DataError("No photos: give a folder, a table or files that hold some.")
    with with_store(run or Run()) as stored:
        before = stored.tally["cut"]
        fitted = (method or NearestCaption()).fit(Kit.of(backbone), evidence, stored)
        cut = stored.tally["cut"] - before
        return replace(captioned(fitted, photos, backbone, stored, n), cut=cut)


def captioned(fitted: FittedCaptioner, photos: Samples[Any], backbone: Backbone, run: Run, n: int = 1) -> Captioned:
    """Return at most n captions of each photo that can be read, by a fitted captioner."""
    found = embed_readable(backbone.image, photos, run)
    kept = tuple(int(i) for i in found.kept)
    written = fitted.caption(Subset(photos, kept), run, n=n)
    return Captioned(kept, tuple(photos.name(i) for i in kept), tuple(map(tuple, written)), found.failed)


def measure(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return "cider_d" (in [0, 10]), "bleu4" and "rouge_l" of N captions against their references.

    Raises:
        DataError: sizes differ, or an item has no reference.
    """
    return {
        "cider_d": float(cider_d(candidates, references).mean()),
        "bleu4": bleu(candidates, references),
        "rouge_l": float(rouge_l(candidates, references).mean()),
    }


def check_judge(backbone: Backbone, by: Backbone) -> None:
    """Refuse a judge that would praise itself; asked before anything is trained.

    Raises:
        UsageError: the judge is the captioner's backbone, or shares one of its towers.
    """
    if {e.fingerprint for e in backbone.encoders.values()} & {e.fingerprint for e in by.encoders.values()}:
        raise UsageError(
            f"{by.spec.name} cannot judge captions that {backbone.spec.name} made, as they share a tower: name "
            f"another judge."
        )


def judge(photos: Samples[Any], candidates: Sequence[str], backbone: Backbone, by: Backbone, run: Run) -> float:
    """Return the mean CLIPScore of N captions by another backbone than the captioner's, which would praise itself.

    Args:
        photos: N readable images.
        candidates: their captions.
        backbone: the captioner's.
        by: the judge.
        run: device and cache.

    Raises:
        UsageError: the judge is the captioner's backbone, or shares one of its towers.
    """
    check_judge(backbone, by)
    images = embed(by.image, photos, run).numpy()
    texts = embed(by.text, Texts(tuple(PROMPT + c for c in candidates)), run).numpy()
    return float(clip_score(images, texts).mean())
