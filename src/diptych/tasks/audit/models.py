"""Audits of models by one system: along the axes of robustness, and by shortcuts that are planted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diptych import catalog
from diptych.backbones.provenance import record_of
from diptych.core import AuditData, Auditor, Backbone, DataError, Finding, Kit, Run, Subject
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import DEFAULTS


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


def robustness_auditor(factors: Sequence[str] = ()) -> Auditor:
    """Return what measures accuracy under visual factors and shifts, calibration, unknown things, and other axes.

    Args:
        factors: visual factors; () are all.

    Raises:
        UsageError: a factor is unknown.
    """
    system: Any = catalog.find(DEFAULTS["audit robustness"], Auditor)
    auditor: Auditor = system(factors=tuple(factors)) if factors else system()
    return auditor


def shortcut_auditor(
    shortcut: float | None = None, opacities: Sequence[float] = (), draws: int | None = None
) -> Auditor:
    """Return what measures how far heads on a model's features follow a mark that goes with the label.

    Args:
        shortcut: share of training pictures whose mark agrees with the label, in (0, 1); None: the system's.
        opacities: of the mark, each in (0, 1]; () are the system's.
        draws: trainings of each head and opacity; None: the system's.

    Raises:
        UsageError: a number is out of its range.
    """
    system: Any = catalog.find(DEFAULTS["audit shortcuts"], Auditor)
    plain = system()
    made: Auditor = system(
        shortcut=plain.shortcut if shortcut is None else shortcut,
        opacities=tuple(opacities) or plain.opacities,
        draws=plain.draws if draws is None else draws,
    )
    return made
