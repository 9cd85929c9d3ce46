"""Audits of models by one system: along the axes of robustness, and by shortcuts that are planted."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.backbones.provenance import record_of
from diptych.core import AuditData, Auditor, Backbone, DataError, Finding, Kit, Run, Subject
from diptych.tasks.classify import with_store


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
    subjects = {b.spec.name: Subject(Kit.of(b), record_of(b.spec)) for b in backbones}
    with with_store(run or Run()) as stored:
        findings = auditor.audit(subjects, data, stored)
    if not any(f.testable for f in findings):
        raise DataError(findings[0].reason if findings else "Nothing could be tested: give more pictures.")
    return findings
