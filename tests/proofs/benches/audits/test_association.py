"""Proof of the association bias, with encoders that are hardly trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.backbones.sources.load import load
from diptych.core import DataError, Finding, NotAvailable, Run
from diptych.methods.audit.concept_association_bias import ConceptAssociationBias
from proofs.benches.audits import association as proof


def test_both_encoders_and_the_backbone_are_asked_about_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "TRAIN", 24)
    monkeypatch.setattr(proof, "TEST", 24)
    monkeypatch.setattr(proof, "FIT", replace(proof.FIT, steps=2, batch=8))
    monkeypatch.setattr(proof, "AUDIT", ConceptAssociationBias(template="a {value} {object}", most=24))
    bench = proof.open_association("scenes", load("tiny"), Run(), (1, 2))
    assert set(bench.table) == {"before", "associated", "independent", proof.COIN}
    assert len({values.shape for values in bench.table.values()}) == 1
    assert bench.table[proof.COIN].mean() == 0.5
    assert set(bench.facts["shares"]) >= {"associated, p_cab", "independent, p_true", "before, p_single"}
    verdict = proof.TRIAL.judge("concept-association-bias", "scenes", bench)
    assert [c["over"] for c in verdict["claims"]] == ["independent"]
    assert [c["over"] for c in verdict["controls"]] == [proof.COIN]


def test_other_data_and_encoders_that_name_no_colours_are_refused() -> None:
    with pytest.raises(NotAvailable, match="paints its data"):
        proof.open_association("photos", load("tiny"), Run(), (1,))
    with pytest.raises(DataError, match="At chance"):
        proof._units(Finding.not_testable("associated", "cab_score", "At chance."))
