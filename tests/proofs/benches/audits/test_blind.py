"""Proof of MMVP with few scenes and two encoders that know nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from diptych.core import Run
from proofs.benches.audits import blind as audit_blind
from proofs.prove import prove
from tests.support.backbone import SmallBackbone
from tests.support.strange_encoder import StrangeEncoder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_blind, "SCENES", 12)
    monkeypatch.setattr(audit_blind, "AUDIT", replace(audit_blind.AUDIT, top=0.2, bottom=0.5))
    monkeypatch.setattr(audit_blind, "load", lambda name: StrangeEncoder())
    monkeypatch.setattr(audit_blind, "Unprojected", SimpleNamespace(of=lambda encoder: encoder))


@pytest.mark.usefixtures("small")
def test_kinds_of_pairs_are_counted_alike() -> None:
    proof = prove("mmvp", SmallBackbone(), Run(), seeds=(1, 2, 3))
    (verdict,) = proof.as_dict()["datasets"]
    assert 0 < verdict["items"] <= audit_blind.PAIRS
    assert set(verdict["pairs_found"]) == {"blind", "swapped roles", "alike", "random"}
    assert len(verdict["claims"]) == len(verdict["controls"]) == 1
    copy = next(b for b in verdict["beside"] if b["name"] == "edits named from the first encoder twice")
    assert abs(copy["gain"]) < 0.2


def test_changes_are_after_less_before() -> None:
    vectors = np.arange(12.0).reshape(6, 2)
    assert audit_blind._changes(vectors).tolist() == [[2.0 * e, 2.0 * e] for e in range(1, 6)]
