"""Proof of AugCLIP with few scenes and a backbone that knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import Run
from proofs.benches.audits import edits as audit_edits
from proofs.benches.audits.edits import preferred
from proofs.prove import prove
from tests.support.backbone import SmallBackbone


def test_choices_count_ties_half() -> None:
    assert preferred(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 4.0])).tolist() == [1.0, 0.5, 0.0]


def test_the_source_itself_is_never_less_similar_than_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_edits, "SOURCES", 6)
    proof = prove("augclip", SmallBackbone(), Run(), seeds=(1, 2, 3))
    (verdict,) = proof.as_dict()["datasets"]
    same = next(c for c in verdict["claims"] if c["over"] == "source_similarity, none")
    assert same["baseline"]["agreement"] == 0
    assert verdict["items"] == 6
    assert len(verdict["beside"]) == 16


def test_mixed_attributes_keep_what_is_shared() -> None:
    rng = np.random.default_rng(0)
    drawn = {audit_edits._mixed(("a", "b", "c"), ("c", "d", "e"), rng) for _ in range(60)}
    assert len(drawn) > 2
    for source, target in drawn:
        assert "c" in source
        assert "c" in target
        assert sorted({*source, *target}) == ["a", "b", "c", "d", "e"]
