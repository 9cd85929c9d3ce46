"""Extenders of a modality: the one that is named, the default one, and the space that needs no training.

One learns from the labelled and unlabelled samples of data that its card asks for, and that can be read.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from diptych import catalog
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
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import none_readable
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.modalities import Modality, modality
from diptych.data.samples import openable
from diptych.tasks.defaults import DEFAULTS


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
        raise DataError(none_readable(len(table), kind.title, failed))
    return (table.take(good.indices) if failed else table), tuple(failed)


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


def refuse_shared(learnt: Samples[Any], test: Samples[Any], kind: Modality) -> None:
    """Raise DataError where a sample is learnt from without its label, and measured."""
    known = {learnt.key(i) for i in range(len(learnt))}
    both = [test.name(i) for i in range(len(test)) if test.key(i) in known]
    if both:
        raise DataError(
            f"{len(both)} measured {kind.title} are also learnt from, {both[0]} first: cut both by one split."
        )


def check_evidence(method: Extender, kind: Modality, classes: ClassNames) -> None:
    """Raise UsageError where labelled samples are not what a system learns from, or come with several texts each."""
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


def learnable(
    method: Extender, data: LabelledData, kind: Modality
) -> tuple[Table[Any] | None, tuple[UnreadableItem, ...]]:
    """Return the labelled samples of train; None for a system that learns from none."""
    if not {"train", "unlabelled"} & _wanted(method.card.needs):
        return None, ()
    return readable(data.split("train"), kind)


def unlabelled_of(
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


def evidence_of(
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


def _wanted(needs: Needs) -> set[str]:
    return {*needs.evidence, *needs.optional}
