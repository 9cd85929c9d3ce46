"""Proofs of audits, one a line: each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from diptych.evaluation.proofs.audits import association as audit_association
from diptych.evaluation.proofs.audits import blind as audit_blind
from diptych.evaluation.proofs.audits import edits as audit_edits
from diptych.evaluation.proofs.audits import groups as audit_groups
from diptych.evaluation.proofs.audits import holistic as audit_holistic
from diptych.evaluation.proofs.audits import pairs as audit_pairs
from diptych.evaluation.proofs.audits import shortcut as audit_shortcut
from diptych.evaluation.proofs.audits import sources as audit_sources
from diptych.evaluation.proofs.trial import Trial

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "augclip": audit_edits.TRIAL,
        "concept-association-bias": audit_association.TRIAL,
        "counteranimal": audit_groups.TRIAL,
        "clip4dm": audit_pairs.TRIAL,
        "holistic-robustness": audit_holistic.TRIAL,
        "mmvp": audit_blind.TRIAL,
        "quality-not-quantity": audit_sources.TRIAL,
        "shortcut-learning": audit_shortcut.TRIAL,
    }
)
