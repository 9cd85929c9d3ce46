"""Proofs of captioners, on pictures and captions of colours."""

from __future__ import annotations

import json
from pathlib import Path

from diptych.core import Run
from proofs.prove import prove
from tests.support.colours import ColourBackbone

SEEDS = (1, 2, 3, 4, 5)


def test_the_nearest_sentence_beats_one_at_random_and_its_control_fails(captioned: Path) -> None:
    proof = prove("nearest-caption", ColourBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    assert proof.shown
    assert proof.facts["metric"] == "cider_d"
    assert found["items"] == 12
    assert found["claims"][0]["method"]["cider_d"] > found["claims"][0]["baseline"]["cider_d"]
    json.dumps(proof.as_dict())
