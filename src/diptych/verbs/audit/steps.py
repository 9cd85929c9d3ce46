"""The steps of ``audit``."""

from __future__ import annotations

from diptych.verbs.audit.association import AuditAssociation
from diptych.verbs.audit.blind import AuditBlind
from diptych.verbs.audit.edits import AuditEdits
from diptych.verbs.audit.pairs import AuditPairs
from diptych.verbs.group import Group

AUDIT = Group(
    "audit",
    "Find where a model fails, or which captions do not fit their photos.",
    (AuditPairs, AuditEdits, AuditBlind, AuditAssociation),
    main="pairs",
)
