"""Proofs of audits, one per line: each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from proofs.benches.audits import association as audit_association
from proofs.benches.audits import blind as audit_blind
from proofs.benches.audits import edits as audit_edits
from proofs.benches.audits import groups as audit_groups
from proofs.benches.audits import holistic as audit_holistic
from proofs.benches.audits import pairs as audit_pairs
from proofs.benches.audits import shortcut as audit_shortcut
from proofs.benches.audits import sources as audit_sources
from proofs.trial import Trial

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
