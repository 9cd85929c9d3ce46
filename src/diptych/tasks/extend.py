"""Fit an extender on labelled samples of its modality, measure it on held ones, and keep the space. For all systems."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.backbones.sources.save import save as save_backbone
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Extender,
    Kit,
    Needs,
    Run,
    Samples,
    Space,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.files import drafted
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.modalities import Modality, modality
from diptych.data.samples import openable
from diptych.features import portable
from diptych.features.derived_space import DerivedSpace, LabelledSpace
from diptych.features.modality_space import encoder_key
from diptych.nn.spaces.headed_space import HeadedSpace
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.space_classifier import SpaceClassifier

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
    """

    classifier: SpaceClassifier
    counts: Mapping[str, int]
    held: str
    right: Mapping[str, int]
    tested: int
    failed: tuple[UnreadableItem, ...]
    seconds: float
    out: Path | None = None

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
        }


def extend(
    data: LabelledData,
    classes: ClassNames,
    backbone: Backbone | None,
    method: Extender,
    run: Run,
    *,
    out: Path | None = None,
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
            format can hold it. None keeps nothing.

    Raises:
        UsageError: several templates, the folder holds something, or the system needs evidence that labelled samples
            do not give.
        DataError: no train split, a class or a sample without a label, no sample that can be read, or one that is both
            learnt from without its label and measured.
    """
    kind = modality(method.samples)
    if out is not None:
        refuse_full(out)
    _check_evidence(method, kind, classes)
    kit = Kit() if backbone is None else Kit({"main": backbone})
    with with_store(run) as stored:
        labelled, failed = _learnable(method, data, kind)
        unlabelled, more = _unlabelled(method, data, labelled, kind)
        held = next((split for split in ("test", "val") if split in data.splits), "")
        test, broken = readable(data.split(held), kind) if held else (None, ())
        if unlabelled is not None and test is not None:
            refuse_shared(unlabelled, test.items, kind)
        evidence = _evidence(method, data, labelled, unlabelled, classes, held)
        start = time.perf_counter()
        space = with_classes(method, method.fit(kit, evidence, stored), labelled, len(classes), stored)
        seconds = time.perf_counter() - start
        frames = int(getattr(method, "frames", 0))
        keep = partial(SpaceClassifier, samples=kind.name, frames=frames, classes=classes)
        fitted = keep(space, method=method.card.slug)
        right: dict[str, int] = {}
        if test is not None:
            others = _others(method, kit, evidence, labelled, classes, stored, frames)
            for name, other in (*others.items(), (method.card.slug, space)):
                right[name] = right_answers(keep(other, method=name), test, stored)
    if out is not None:
        _keep(fitted, out)
    counts = {kind.name: 0 if labelled is None else len(labelled)}
    if unlabelled is not None:
        counts = {"aligned": len(unlabelled), "labelled": 0 if labelled is None else len(labelled)}
    tested = 0 if test is None else len(test)
    return Extended(fitted, counts, held, right, tested, (*failed, *more, *broken), seconds, out)


def refuse_full(out: Path) -> None:
    """Raise UsageError where something stands in the place of a new folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty: name another folder, nothing is overwritten.")


def extender(name: str, **settings: Any) -> Extender:
    """Return an extender of the catalog, with the settings that it has among these.

    Args:
        name: slug, or "slug:row" for a row of its card.
        settings: "passes" is for the number of passes over labelled samples, whatever the system calls it. None leaves
            a setting as it is.

    Raises:
        UsageError: there is no such extender, it has no such row, or a setting is out of its range.
        MissingExtra: what it needs is not installed.
    """
    slug, _, row = name.partition(":")
    system = catalog.find(slug, Extender)
    known = {f.name for f in fields(system)}  # type: ignore[arg-type]  # methods are dataclasses
    passes = settings.pop("passes", None)
    given = {**settings, **({system.passes: passes} if system.passes else {})}
    given = {key: value for key, value in given.items() if value is not None and key in known}
    start = catalog.row(system, row) if row else system()
    method = replace(start, **{**({} if row else system.quick), **given})  # type: ignore[type-var]
    method.check_extras()
    return method


def extenders(samples: str) -> list[type[Extender]]:
    """Return the extenders of a modality: the default one first, then the others by slug."""
    first = DEFAULTS.get(f"extend {samples}", "")
    every = [catalog.find(c["slug"], Extender) for c in catalog.cards() if c["verb"] == Extender.verb]
    return sorted((e for e in every if e.samples == samples), key=lambda e: (e.card.slug != first, e.card.slug))


def default_extender(kind: Modality) -> str:
    """Return the slug of the system that learns from labelled samples of a modality where none is named.

    Raises:
        UsageError: no installed system takes them.
    """
    if f"extend {kind.name}" in DEFAULTS:
        return DEFAULTS[f"extend {kind.name}"]
    known = extenders(kind.name)
    if not known:
        raise UsageError(f"No installed system learns from {kind.title}: install the package that brings one.")
    return next((e for e in known if e.card.needs.evidence), known[0]).card.slug


def of_modality(name: str, kind: Modality, *, certain: bool = True) -> type[Extender]:
    """Return an extender that takes samples of a modality.

    Args:
        name: slug, or "slug:row".
        kind: what the data hold.
        certain: whether they hold nothing else; False takes an extender of another modality, which then opens them.

    Raises:
        UsageError: there is no such extender, or it takes other samples.
    """
    system = catalog.find(name.partition(":")[0], Extender)
    if certain and system.samples != kind.name:
        able = ", ".join(other.card.slug for other in extenders(kind.name)) or "none of those installed"
        raise UsageError(
            f"{system.card.slug} learns from {modality(system.samples).title}, and these are {kind.title}: take {able}."
        )
    return system


def untrained_space(samples: str, backbone: Backbone, run: Run, *, frames: int | None = None) -> Backbone:
    """Return a space of samples of a modality and texts that needs no training, in which class names are enough.

    Args:
        samples: name of the modality.
        backbone: of photos and texts.
        run: seed and device.
        frames: pictures of a clip; None: the system's default.

    Raises:
        UsageError: there is none for this modality.
    """
    kind = modality(samples)
    name = DEFAULTS.get(f"untrained {samples}") or next(
        (e.card.slug for e in extenders(samples) if e.card.needs.hooks and not e.card.needs.evidence), ""
    )
    if not name:
        raise UsageError(
            f"No backbone knows {kind.title} by the names of classes: run 'diptych extend' on some with classes, and "
            f"give its folder as the model."
        )
    space = extender(name, frames=frames).fit(Kit({"main": backbone}), Evidence(), run)
    assert isinstance(space, Backbone)
    return space


def readable(table: Table[Any], kind: Modality) -> tuple[Table[Any], tuple[UnreadableItem, ...]]:
    """Return the rows whose samples can be read, and why the others cannot.

    Raises:
        DataError: none can be read.
    """
    good, failed = openable(table.items)
    if not len(good):
        first = failed[0] if failed else "there is none"
        raise DataError(f"None of the {len(table)} {kind.title} can be read; the first: {first}.")
    return (table.take(good.indices) if failed else table), tuple(failed)


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
    own = method.with_labels(space, labelled, classes, run)
    return HeadedSpace.fit(space, encoder_key(space, kind), labelled, classes, run) if own is None else own


def classes_of(data: LabelledData, kind: Modality) -> ClassNames:
    """Return the classes of data whose samples are named by no words, with a prompt that is the name.

    Raises:
        DataError: there is no train split, or no class.
    """
    data.split("train")
    if not data.classes:
        raise DataError(f"{data.name} has {kind.title} of no class: name a column of classes as the label.")
    return ClassNames(data.classes, ("{}",))


def with_texts(table: Table[Any], classes: ClassNames) -> Table[Any]:
    """Return labelled samples as an extender learns from them: each with the one prompt of its class."""
    texts = [row[0] for row in classes.prompts()]
    captions = Column("captions", [texts[k] for k in table.labels()])
    return Table(table.items, {"label": table.columns["label"], "captions": captions})


def right_answers(model: SpaceClassifier, table: Table[Any], run: Run) -> int:
    """Return how many samples of a labelled table are named right."""
    return int((model.scores(table.items, run).predicted().numpy() == table.labels()).sum())


def refuse_shared(learnt: Samples[Any], test: Samples[Any], kind: Modality) -> None:
    """Raise DataError where a sample is learnt from without its label, and measured."""
    known = {learnt.key(i) for i in range(len(learnt))}
    both = [test.name(i) for i in range(len(test)) if test.key(i) in known]
    if both:
        raise DataError(
            f"{len(both)} measured {kind.title} are also learnt from, {both[0]} first: cut both by one split."
        )


def _wanted(needs: Needs) -> set[str]:
    return {*needs.evidence, *needs.optional}


def _check_evidence(method: Extender, kind: Modality, classes: ClassNames) -> None:
    needs = method.card.needs
    if others := [name for name in needs.evidence if name not in ("train", "val", "unlabelled")]:
        raise UsageError(
            f"{method.card.slug} also needs {', '.join(others)}, which labelled {kind.title} do not give: fit it in "
            f"Python."
        )
    if "train" in _wanted(needs) and len(classes.templates) != 1:
        raise UsageError(
            f"A {kind.one} learns from one text, and there are {len(classes.templates)} templates: give one."
        )


def _learnable(
    method: Extender, data: LabelledData, kind: Modality
) -> tuple[Table[Any] | None, tuple[UnreadableItem, ...]]:
    """Return the labelled samples of train; None for a system that learns from none."""
    if not {"train", "unlabelled"} & _wanted(method.card.needs):
        return None, ()
    return readable(data.split("train"), kind)


def _unlabelled(
    method: Extender, data: LabelledData, labelled: Table[Any] | None, kind: Modality
) -> tuple[Samples[Any] | None, tuple[UnreadableItem, ...]]:
    """Return the samples that are learnt from without labels: those of no class, and those of train where needed."""
    needs = method.card.needs
    if "unlabelled" not in _wanted(needs):
        return None, ()
    parts: list[Samples[Any]] = []
    if "unlabelled" in needs.evidence and labelled is not None:
        parts.append(labelled.items)
    failed: tuple[UnreadableItem, ...] = ()
    if "unlabelled" in data.splits:
        rest, failed = readable(data.splits["unlabelled"], kind)
        parts.append(rest.items)
    return (Joined(tuple(parts)) if parts else None), failed


def _evidence(
    method: Extender,
    data: LabelledData,
    labelled: Table[Any] | None,
    unlabelled: Samples[Any] | None,
    classes: ClassNames,
    held: str,
) -> Evidence[Any]:
    """Return the evidence that the card names; val only where it is not measured."""
    wanted, kind = _wanted(method.card.needs), modality(method.samples)
    val: Table[Any] | None = None
    if "val" in wanted and "val" in data.splits and held != "val":
        val, _ = readable(data.splits["val"], kind)
        val = with_texts(val, classes) if "label" in val.columns else val
    train = with_texts(labelled, classes) if "train" in wanted and labelled is not None else None
    return Evidence(train=train, val=val, unlabelled=unlabelled)


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


def _keep(fitted: SpaceClassifier, out: Path) -> None:
    """Write the space with its classes, and its backbone where that was trained; whole or not at all."""
    with drafted(out, overwrite=True) as draft:
        space = fitted.space
        if isinstance(space, DerivedSpace) and space.base is not space.origin:
            with contextlib.suppress(UsageError):  # its format holds not every backbone, and the space itself is enough
                save_backbone(space.base, draft)
        draft.mkdir(exist_ok=True)
        portable.write(fitted, draft)
