"""Audits of models by one system: along the axes of robustness, and by shortcuts that are planted.

Of pictures that a model takes for the same, by the eyes of a second image encoder, and of pairs with statements. Of
pictures of two objects: whose attribute does a model name?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diptych.backbones.provenance import record_of, subject_of
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    ClassNames,
    Column,
    DataError,
    Encoder,
    Finding,
    Kit,
    Probe,
    Run,
    Subject,
    Table,
    UnreadableItem,
)
from diptych.data.formats.mmvp import is_mmvp, is_mmvp_vlm, read_mmvp, read_mmvp_vlm
from diptych.data.formats.winoground import is_winoground, read_winoground
from diptych.data.keys import FileKeys
from diptych.features.embed import embed_readable
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import default


def audit_models(
    auditor: Auditor, backbones: Sequence[Backbone], data: AuditData, run: Run | None = None
) -> list[Finding]:
    """Audit backbones on the same tables.

    Args:
        auditor: any system that audits models.
        backbones: the subjects, by their names.
        data: tables with readable items, see ``tasks.audit.data.gathered``.
        run: device, cache and seed; None: a plain CPU run.

    Returns:
        The findings about each backbone.

    Raises:
        UsageError: there is no backbone.
        DataError: the data lack a table or a column, or nothing is testable.
    """
    subjects = {b.spec.name: subject_of(b) for b in backbones}
    with with_store(run or Run()) as stored:
        findings = auditor.audit(subjects, data, stored)
    if not any(f.testable for f in findings):
        raise DataError(findings[0].reason if findings else "Nothing could be tested: give more pictures.")
    return findings


STATED = (
    (is_mmvp_vlm, read_mmvp_vlm, "a photo of {}"),
    (is_mmvp, read_mmvp, "{}"),
    (is_winoground, read_winoground, "{}"),
)
"""Published layouts of pairs with statements: whether a folder has one, its reader, and the template of a statement."""


def stated_pairs(folder: str, keys: FileKeys | None = None) -> tuple[Table[Any], str] | None:
    """Return the pairs of a folder in one of the layouts, and the template of their statements; None for others."""
    return next(((read(folder, keys), template) for has, read, template in STATED if has(folder)), None)


def audit_blind(
    table: Table[Any],
    backbone: Backbone,
    run: Run | None = None,
    *,
    vision: Encoder[Any] | None = None,
    name: str = "pictures",
    method: Auditor | None = None,
) -> tuple[list[Finding], tuple[UnreadableItem, ...]]:
    """Mine blind pairs among pictures, or count the pairs of a table whose statements choose their picture.

    Args:
        table: pictures; with the columns "group" and "captions", pairs with statements.
        backbone: the model.
        run: device, cache and seed; None: a plain CPU run.
        vision: the second image encoder; None: only pairs with statements are counted.
        name: of the table.
        method: any auditor of such tables; None is MMVP.

    Returns:
        The findings, and the pictures that were left out because a file cannot be read; their pairs are left out too.

    Raises:
        DataError: there are neither statements nor a second encoder, or fewer than two pictures.
    """
    auditor = method or default("audit blind", Auditor)
    with with_store(run or Run()) as stored:
        embedded = embed_readable(backbone.image, table.items, stored).some("pictures")
        rows = [int(i) for i in embedded.kept]
        paired = {"group", "captions"} <= set(table.columns)
        if paired:
            groups = [str(g) for g in table.columns["group"].values]
            lost = {groups[i] for i in range(len(table)) if i not in set(rows)}
            rows = [i for i in rows if groups[i] not in lost]
        readable = table.take(rows)
        parts = {"main": backbone} | ({} if vision is None else {"vision": vision})
        subject = Subject(Kit(parts), record_of(backbone.spec))
        probes = {name: Probe(readable, "pairs" if paired else "id")}
        return auditor.audit({backbone.spec.name: subject}, AuditData(probes), stored), embedded.failed


def audit_association(
    table: Table[Any],
    classes: ClassNames,
    backbones: Sequence[Backbone],
    run: Run | None = None,
    *,
    column: str = "group",
    method: Auditor | None = None,
) -> tuple[list[Finding], tuple[UnreadableItem, ...]]:
    """Measure how often models name the attribute of the other one of two objects.

    Args:
        table: N pictures of one object each, with labels.
        classes: K names.
        backbones: the subjects, by their names.
        run: device, cache and seed; None: a plain CPU run.
        column: group column with the attribute of each object.
        method: any auditor that reads the column that it names; None is the concept association bias.

    Returns:
        The findings, and the pictures that were left out because a file cannot be read.

    Raises:
        DataError: the table has no such column, or no labels.
    """
    auditor: Any = method or default("audit association", Auditor)
    with with_store(run or Run()) as stored:
        readable, failed = embed_readable(backbones[0].image, table.items, stored).rows(table)
        columns = dict(readable.columns)
        if column in columns:
            columns[auditor.column] = Column("group", tuple(str(v) for v in columns[column].values))
        subjects = {b.spec.name: subject_of(b) for b in backbones}
        findings: list[Finding] = auditor.audit(
            subjects, AuditData.single(Table(readable.items, columns), classes), stored
        )
        return findings, failed
