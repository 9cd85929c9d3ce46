"""Fit an extender on labelled samples of its modality, measure it on held ones, and keep the space. For all systems."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diptych.backbones.sources.save import save as save_backbone
from diptych.core import (
    Backbone,
    ClassNames,
    DataError,
    Evidence,
    Extender,
    FittedClassifier,
    Kit,
    Run,
    Space,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.files import drafted
from diptych.data.labelled import LabelledData
from diptych.data.modalities import modality
from diptych.features import artefacts, portable
from diptych.features.derived_space import DerivedSpace, LabelledSpace
from diptych.features.modality_space import encoder_key
from diptych.features.spaces import StoredSpace
from diptych.nn.spaces.headed_space import HeadedSpace
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.extenders import (
    check_evidence,
    evidence_of,
    learnable,
    readable,
    refuse_shared,
    unlabelled_of,
    untrained_space,
)
from diptych.tasks.space_classifier import SpaceClassifier
from diptych.train.parameters import resumable

SCRATCH, ZERO_SHOT = "from scratch", "zero-shot"
"""Names of what a system is compared with: its space before training, and its space without labels."""


@dataclass(frozen=True)
class Extended:
    """A fitted space, and how well it names held samples.

    Args:
        classifier: the space with its classes.
        counts: what was learnt from -> number of samples: by the name of the modality where each has a class, else
            "aligned" and "labelled".
        held: split that was measured on; "" if there was none.
        right: system -> right answers among ``tested`` samples of that split.
        failed: samples that could not be read.
        seconds: wall seconds of fitting.
        out: folder of the space; None: not kept.
        loaded: the folder from which it was loaded, with its checksum; {}: it was fitted.
    """

    classifier: SpaceClassifier
    counts: Mapping[str, int]
    held: str
    right: Mapping[str, int]
    tested: int
    failed: tuple[UnreadableItem, ...]
    seconds: float
    out: Path | None = None
    loaded: Mapping[str, str] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """The space."""
        return self.classifier.space

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "method": self.classifier.method,
            "backbone": self.space.spec.name,
            "fingerprint": self.space.fingerprint,
            **self.counts,
            "classnames": list(self.classifier.classes.names),
            "templates": list(self.classifier.classes.templates),
            "held": self.held,
            "tested": self.tested,
            "right": dict(self.right),
            "skipped": [e.as_dict() for e in self.failed],
            "seconds": round(self.seconds, 3),
            "out": None if self.out is None else str(self.out),
            **({"fitted": dict(self.loaded)} if self.loaded else {}),
        }

    def lines(self, name: str) -> list[str]:
        """Return what was learnt by a system of this name, and what each space names right."""
        kind, width = self.classifier.modality, max(map(len, self.right), default=0)
        learnt = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        if self.loaded:
            head = f"{name}, loaded from {self.loaded['folder']}, {len(self.classifier.classes)} classes"
        else:
            head = f"{learnt} of {len(self.classifier.classes)} classes, {name} fitted in {self.seconds:.0f} s"
        tested = f"{self.tested} {self.held} {kind.name}"
        return [head, *(f"{n:<{width}}  {right} of {tested} right" for n, right in self.right.items())]


def extend(
    data: LabelledData,
    classes: ClassNames,
    backbone: Backbone | None,
    method: Extender,
    run: Run,
    *,
    out: Path | None = None,
    workers: int = 0,
) -> Extended:
    """Fit on what the system's card asks for, and measure on test or else val beside what was not trained.

    Args:
        data: labelled samples of ``method.samples``, see ``data.modalities``.
        classes: K names, in the order of the data's classes; one template where samples learn from texts.
        backbone: of photos and texts; None for a system that needs none.
        method: any extender.
        run: seed, device, cache.
        out: new or empty folder for the space and its classes, which ``load_classifier`` and ``load_space`` read.
            Where the backbone was trained, it is written there too, as ``load("local:FOLDER")`` reads it, if its
            format can hold it. A fit that was stopped goes on, see ``train.parameters.resumable``. None keeps nothing.
        workers: processes that load and augment what it learns from.

    Raises:
        UsageError: several templates, the folder holds something, or the system needs evidence that labelled samples
            do not give.
        DataError: no train split, a class or a sample without a label, no sample that can be read, or one that is both
            learnt from without its label and measured.
    """
    kind = modality(method.samples)
    if out is not None:
        refuse_full(out)
    check_evidence(method, kind, classes)
    kit = Kit() if backbone is None else Kit({"main": backbone})
    of = None if out is None else artefacts.begins(method, kit.parts, classes=classes)
    with with_store(run) as stored, resumable(out, workers=workers, of=of):
        labelled, failed = learnable(method, data, kind)
        unlabelled, more = unlabelled_of(method, data, labelled, kind)
        held = next((split for split in ("test", "val") if split in data.splits), "")
        test, broken = readable(data.split(held), kind) if held else (None, ())
        if unlabelled is not None and test is not None:
            refuse_shared(unlabelled, test.items, kind)
        evidence = evidence_of(method, data, labelled, unlabelled, classes, held)
        start = time.perf_counter()
        space = with_classes(method, method.fit(kit, evidence, stored), labelled, len(classes), stored)
        seconds = time.perf_counter() - start
        frames = int(getattr(method, "frames", 0))
        named = partial(SpaceClassifier, samples=kind.name, frames=frames, classes=classes)
        fitted = named(space, method=method.card.slug)
        right: dict[str, int] = {}
        if test is not None:
            others = _others(method, kit, evidence, labelled, classes, stored, frames)
            for name, other in (*others.items(), (method.card.slug, space)):
                right[name] = right_answers(named(other, method=name), test, stored)
        if out is not None:
            keep_space(fitted, out, method)
    counts = {kind.name: 0 if labelled is None else len(labelled)}
    if unlabelled is not None:
        counts = {"aligned": len(unlabelled), "labelled": 0 if labelled is None else len(labelled)}
    tested = 0 if test is None else len(test)
    return Extended(fitted, counts, held, right, tested, (*failed, *more, *broken), seconds, out)


def refuse_full(out: Path) -> None:
    """Raise UsageError where something stands in the place of a new folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty: name another folder, nothing is overwritten.")


def with_classes(method: Extender, space: Space, labelled: Table[Any] | None, classes: int, run: Run) -> Space:
    """Return a space that names classes: by texts as it is, or by a head on labels.

    Args:
        method: that fitted the space.
        space: that it fitted.
        labelled: samples with a column "label"; None: there are none.
        classes: K.
        run: seed, device and cache.

    Raises:
        DataError: there are no two classes, or one has no sample to learn from.
    """
    if "text" in space.encoders or isinstance(space, LabelledSpace):
        return space
    kind = modality(method.samples)
    if labelled is None or classes < 2 or len(np.unique(labelled.labels())) < classes:
        raise DataError(
            f"{method.card.name} needs {kind.title} of two or more classes, each of them in train: name a column of "
            f"classes as the label."
        )
    extended = method.with_labels(space, labelled, classes, run)
    return HeadedSpace.fit(space, encoder_key(space, kind), labelled, classes, run) if extended is None else extended


def right_answers(model: FittedClassifier, table: Table[Any], run: Run) -> int:
    """Return how many samples of a labelled table are named right."""
    return int((model.scores(table.items, run).predicted().numpy() == table.labels()).sum())


def _others(
    method: Extender,
    kit: Kit,
    evidence: Evidence[Any],
    labelled: Table[Any] | None,
    classes: ClassNames,
    run: Run,
    frames: int,
) -> dict[str, Space]:
    """Return what a system is compared with, by name: its space before training, or the untrained one of all."""
    before = method.untrained(kit, evidence, run)
    if before is not None:
        return {SCRATCH: with_classes(method, before, labelled, len(classes), run)}
    name, backbone = DEFAULTS.get(f"untrained {method.samples}", ""), kit.parts.get("main")
    if not name or not isinstance(backbone, Backbone) or method.card.trains == "nothing":
        return {}
    plain = untrained_space(method.samples, backbone, run, frames=frames or None)
    return {ZERO_SHOT if name == method.card.slug else name: plain}


def keep_space(fitted: SpaceClassifier, out: Path, method: Extender | None = None) -> None:
    """Write the space with its classes, and its backbone where that was trained; whole or not at all.

    Args:
        fitted: the space.
        out: new or empty folder.
        method: that fitted it, with its settings, which the folder then says; None: it names the system alone.

    Raises:
        UsageError: the folder holds something.
    """
    refuse_full(out)
    with drafted(out, overwrite=True) as draft:
        space = fitted.space
        if isinstance(space, DerivedSpace) and space.base is not space.origin:
            with contextlib.suppress(UsageError):  # its format holds not every backbone, and the space itself is enough
                save_backbone(space.base, draft)
        draft.mkdir(exist_ok=True)
        about = None
        if method is not None:
            with contextlib.suppress(UsageError):  # a system that is in no catalog is named by its slug alone
                about = artefacts.described(StoredSpace(fitted.space), method, {})
                about["classes"] = list(fitted.classes.names)
        portable.write(fitted, draft, about)
