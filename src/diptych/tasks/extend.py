"""Fit an extender on labelled clips, measure it on held ones beside the untrained frame mean, and keep the weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.sources.save import save
from diptych.core import Backbone, ClassNames, Column, Evidence, Extender, Kit, Run, Table, UnreadableItem, UsageError
from diptych.data.labelled import LabelledData
from diptych.features.clips import ClipSpace
from diptych.features.derived_space import ConditionedSpace, DerivedSpace
from diptych.features.embed import embed_readable
from diptych.features.portable import save as keep
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.ila import ILA
from diptych.methods.extend.vifi_clip import ViFiCLIP
from diptych.nn.aligned_clips import ILASpace
from diptych.tasks.classify import with_store
from diptych.tasks.clip_model import ClipClassifier


@dataclass(frozen=True)
class Extended:
    """What was fitted.

    Args:
        space: takes clips.
        classes: K names.
        held: split that was measured on; "" if there was none.
        right: system -> right answers among ``tested`` clips of that split.
        failed: clips that could not be read.
        seconds: wall seconds of fitting.
        out: folder of the weights; None: not kept.
    """

    space: Backbone
    method: str
    clips: int
    classes: ClassNames
    held: str
    right: dict[str, int]
    tested: int
    failed: tuple[UnreadableItem, ...]
    seconds: float
    out: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "method": self.method,
            "backbone": self.space.spec.name,
            "fingerprint": self.space.fingerprint,
            "clips": self.clips,
            "classnames": list(self.classes.names),
            "templates": list(self.classes.templates),
            "held": self.held,
            "tested": self.tested,
            "right": self.right,
            "skipped": [e.as_dict() for e in self.failed],
            "seconds": round(self.seconds, 3),
            "out": None if self.out is None else str(self.out),
        }


def extend(
    data: LabelledData,
    classes: ClassNames,
    backbone: Backbone,
    method: Extender,
    run: Run,
    *,
    frames: int,
    out: Path | None = None,
) -> Extended:
    """Fit on the train split and measure on val or test, whichever is there.

    Args:
        data: labelled clips.
        classes: K names and one template, in the order of the data's classes.
        backbone: of photos and texts.
        method: fitted with one text a clip.
        run: seed, device, cache.
        frames: T of the untrained baseline.
        out: new folder for the tuned weights, which ``load`` reads, or for the parts of ILA, which ``classify_clips``
            reads; None keeps none.

    Raises:
        UsageError: several templates, or prompts are to be kept, which no format of weights holds.
        DataError: no train split, or a clip of it has no label.
    """
    if len(classes.templates) != 1:
        raise UsageError(f"A clip learns from one text, and there are {len(classes.templates)} templates: give one.")
    if out is not None and getattr(method, "tunes", "") == "prompts":
        raise UsageError(
            "Prompts are not weights of the backbone and cannot be kept in its format: tune heads or full, or use the "
            "library."
        )
    with with_store(run) as stored:
        train, failed = readable(data.split("train"), backbone, frames, stored)
        evidence = told(train, classes)
        start = time.perf_counter()
        space = method.fit(Kit({"main": backbone}), evidence, stored)
        seconds = time.perf_counter() - start
        assert isinstance(space, DerivedSpace)
        held = next((s for s in ("test", "val") if s in data.splits), "")
        right, tested = {}, 0
        if held:
            table, broken = readable(data.split(held), backbone, frames, stored)
            failed, tested = failed + broken, len(table)
            for name, other in (
                ("frame-mean", FrameMean(frames).fit(Kit({"main": backbone}), Evidence(), stored)),
                (method.card.slug, space),
            ):
                right[name] = int(hits(other, table, classes, stored).sum())
    if out is not None and isinstance(space, ILASpace) and isinstance(method, ILA):
        keep(ClipClassifier.of(space, method, classes), out)
    elif out is not None:
        save(space.base, out)
    return Extended(space, method.card.slug, len(train), classes, held, right, tested, failed, seconds, out)


def tuner(tunes: str, frames: int, epochs: int, method: str = "vifi-clip") -> Extender:
    """Return what learns from clips.

    Args:
        tunes: "full" or "heads", of vifi-clip.
        frames: pictures looked at in each clip.
        epochs: passes over the clips.
        method: "vifi-clip" or "ila".

    Raises:
        MissingExtra: what training needs is not installed.
    """
    chosen: Extender = ViFiCLIP(tunes="full" if tunes == "full" else "heads", frames=frames, epochs=epochs)
    if method == "ila":
        chosen = ILA(frames=frames, epochs=epochs, sampling="middle", batch=32)
    chosen.check_extras()
    return chosen


def with_clips(backbone: Backbone, frames: int | None, run: Run) -> Backbone:
    """Return a backbone with clips, each the mean of so many frames, in the place of photos; None: the backbone."""
    return backbone if frames is None else FrameMean(frames).fit(Kit({"main": backbone}), Evidence(), run)


def told(train: Table[Any], classes: ClassNames) -> Evidence[Any]:
    """Return labelled clips as an extender learns from them: each with the one prompt of its class."""
    texts = [row[0] for row in classes.prompts()]
    return Evidence(train=Table(train.items, {"captions": Column("captions", [texts[k] for k in train.labels()])}))


def hits(space: Backbone, table: Table[Any], classes: ClassNames, run: Run) -> NDArray[np.bool_]:
    """Return (N,) whether a space of clips names each clip rightly, from class names alone."""
    if isinstance(space, ConditionedSpace):
        texts = [row[0] for row in classes.prompts()]
        return np.asarray(space.cosines(table.items, texts, run).argmax(1).numpy() == table.labels())
    fitted = ZeroShot().fit(Kit({"main": space}), classes, Evidence(), run)
    return np.asarray(fitted.scores(table.items, run).predicted().numpy() == table.labels())


def readable(
    table: Table[Any], backbone: Backbone, frames: int, run: Run
) -> tuple[Table[Any], tuple[UnreadableItem, ...]]:
    """Return the rows whose clips can be read: each is encoded once, untuned, which the baseline needs anyway."""
    return embed_readable(ClipSpace(backbone, frames).image, table.items, run).some("clips").rows(table)
