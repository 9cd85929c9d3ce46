"""The steps of ``audit``."""

from __future__ import annotations

from diptych.verbs.audit.blind import AuditBlind
from diptych.verbs.audit.edits import AuditEdits
from diptych.verbs.audit.groups import AuditAssociation, AuditGroups, AuditSources
from diptych.verbs.audit.models import AuditRobustness, AuditShortcuts
from diptych.verbs.audit.pairs import AuditPairs
from diptych.verbs.audit.report import AuditReport
from diptych.verbs.group import Group

AUDIT = Group(
    "audit",
    "Find where a model fails, or which captions do not fit their photos.",
    (
        AuditGroups, AuditPairs, AuditReport, AuditEdits, AuditBlind, AuditSources, AuditAssociation, AuditRobustness,
        AuditShortcuts,
    ),
    main="pairs",
)  # fmt: skip
