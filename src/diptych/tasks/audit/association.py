"""Pictures of two objects: whose attribute does a model name?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diptych.backbones.provenance import record_of
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    ClassNames,
    Column,
    Finding,
    Kit,
    Run,
    Subject,
    Table,
    UnreadableItem,
)
from diptych.features.embed import embed_readable
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import default


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
        kept, failed = embed_readable(backbones[0].image, table.items, stored).rows(table)
        own = dict(kept.columns)
        if column in own:
            own[auditor.column] = Column("group", tuple(str(v) for v in own[column].values))
        subjects = {b.spec.name: Subject(Kit.of(b), record_of(b.spec)) for b in backbones}
        findings: list[Finding] = auditor.audit(subjects, AuditData.single(Table(kept.items, own), classes), stored)
        return findings, failed
