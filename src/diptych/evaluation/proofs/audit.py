"""Proofs of audits, one a line: each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from diptych.evaluation.proofs import (
    audit_blind,
    audit_edits,
    audit_groups,
    audit_holistic,
    audit_pairs,
    audit_shortcut,
    audit_sources,
)
from diptych.evaluation.proofs.trial import Trial

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "augclip": audit_edits.TRIAL,
        "counteranimal": audit_groups.TRIAL,
        "clip4dm": audit_pairs.TRIAL,
        "holistic-robustness": audit_holistic.TRIAL,
        "mmvp": audit_blind.TRIAL,
        "quality-not-quantity": audit_sources.TRIAL,
        "shortcut-learning": audit_shortcut.TRIAL,
    }
)
