"""Proofs of curation, on pictures and captions of colours."""

from __future__ import annotations

import json
from pathlib import Path

from diptych.core import Run
from proofs.prove import prove
from tests.support.colours import ColourBackbone

SEEDS = (1, 2, 3, 4, 5)


def test_what_knows_colours_beats_chance_and_its_control_fails(captioned: Path) -> None:
    proof = prove("clip-score", ColourBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    assert proof.shown
    assert proof.facts["metric"] == "accuracy"
    assert found["items"] == 12
    assert found["claims"][0]["method"]["accuracy"] > found["claims"][0]["baseline"]["accuracy"]
    json.dumps(proof.as_dict())


def test_balance_is_measured_against_verdicts_of_equal_size(captioned: Path) -> None:
    proof = prove("metaclip", ColourBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    assert found["items"] == 60
    assert found["claims"][0]["method"]["tail_recall"] == 1.0
    assert 0 < found["kept_share"] <= 1
