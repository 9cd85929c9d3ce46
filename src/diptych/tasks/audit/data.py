"""The tables of an audit, from data sets: readable items, and classes by one set of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diptych.core import AuditData, Backbone, ClassNames, Column, DataError, Probe, Role, Run, Table, UnreadableItem
from diptych.data.cues import COLUMN
from diptych.data.labelled import LabelledData
from diptych.data.words.classnames import tidy
from diptych.features.embed import embed_readable


def gathered(
    base: LabelledData,
    names: Sequence[str],
    backbone: Backbone,
    run: Run,
    *,
    shifts: Mapping[str, LabelledData] | None = None,
    others: Mapping[str, LabelledData] | None = None,
    cues: Mapping[str, LabelledData] | None = None,
) -> tuple[AuditData, tuple[UnreadableItem, ...]]:
    """Return the tables of an audit, and the items that were left out because a file cannot be read.

    Args:
        base: the user's data. Its split "test" (or "val", or the only one) is in distribution, "train" is training
            items.
        names: K class names in words, in the order of the classes of ``own``; () where nothing is labelled.
        backbone: items that it can read are kept.
        run: device and cache.
        shifts: name -> data set of the same classes, or of some of them, by their names.
        others: name -> data set whose items are of none of the classes; their labels are not read.
        cues: name -> pictures with conflicting cues, of ``data.cues``; they have classes of their own.

    Raises:
        DataError: a shift has a class that ``own`` has not, or no item can be read.
    """
    split = next((s for s in ("test", "val") if s in base.splits), next(iter(base.splits)))
    classes = ClassNames(tuple(names)) if names else None
    wanted: list[tuple[str, Role, Table[Any], ClassNames | None]] = [(base.name, "id", base.split(split), classes)]
    if "train" in base.splits and split != "train":
        wanted.append((f"{base.name}, train", "train", base.split("train"), classes))
    for name, data in (shifts or {}).items():
        if classes is None:
            raise DataError(f"{base.name} has no classes, so {name} cannot be a shift of them: give classes.")
        wanted.append((name, "shift", *_mapped(name, data, base, classes)))
    wanted += [(name, "ood", Table(data.whole().items), None) for name, data in (others or {}).items()]
    for name, data in (cues or {}).items():
        of_cues = {c: tidy(c) for c in data.classes}
        column = Column("group", tuple(of_cues[t] for t in data.whole().columns[COLUMN].values))
        cued = Table(data.whole().items, {**data.whole().columns, COLUMN: column})
        wanted.append((name, "shift", cued, ClassNames(tuple(of_cues.values()))))
    probes, failed = {}, dict[str, UnreadableItem]()
    for name, role, table, of_table in wanted:
        readable, broken = embed_readable(backbone.image, table.items, run).rows(table)
        failed |= {e.name: e for e in broken}
        if not len(readable):
            raise DataError(f"No picture of {name} can be read: give others.")
        probes[name] = Probe(readable, role, of_table)
    return AuditData(probes), tuple(failed.values())


def _mapped(name: str, data: LabelledData, base: LabelledData, classes: ClassNames) -> tuple[Table[Any], ClassNames]:
    """Return the table of a shift with its classes, in their order among those of the own data."""
    spoken = {tidy(c): n for c, n in zip(base.classes, classes.names, strict=True)} | {n: n for n in classes.names}
    if unknown := [c for c in data.classes if tidy(c) not in spoken]:
        raise DataError(
            f"{name} has the class {unknown[0]!r}, which {base.name} does not have: a shift has the same classes, or "
            f"some of them. Give other things by {{ood}}."
        )
    if not data.classes:
        return data.whole(), classes
    there = [spoken[tidy(c)] for c in data.classes]
    common = tuple(n for n in classes.names if n in there)
    place = np.array([common.index(n) for n in there], dtype=np.int64)
    table = data.whole()
    labels = Column("label", place[table.labels()])
    return Table(table.items, {**table.columns, "label": labels}), ClassNames(common, classes.templates)
