"""What an extender learns from: the labelled and unlabelled samples of data that its card asks for, and can be read."""

from __future__ import annotations

from typing import Any

from diptych.core import (
    ClassNames,
    Column,
    DataError,
    Evidence,
    Extender,
    Needs,
    Samples,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.modalities import Modality, modality
from diptych.data.samples import openable


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
