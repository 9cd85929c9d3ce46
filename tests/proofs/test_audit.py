"""Every audit with a proof on its card has a trial, and no other."""

from __future__ import annotations

from diptych import catalog
from proofs.audit import TRIALS


def test_every_audit_with_a_proof_plan_has_a_trial() -> None:
    assert set(TRIALS) == {c["slug"] for c in catalog.cards() if c["verb"] == "audit" and c["proof"]}
