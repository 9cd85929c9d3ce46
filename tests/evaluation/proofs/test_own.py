"""Proofs of audit, curate and caption, on pictures and captions of colours."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from diptych.core.errors import DataError
from diptych.core.run import Run
from diptych.evaluation.proofs import audit as audit_proofs
from diptych.evaluation.prove import prove
from diptych.methods.audit import clip4dm
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.deep_backbone import DeepBackbone

SEEDS = (1, 2, 3, 4, 5)
THINGS = ("dog", "car", "hat", "boat", "cat", "bench")


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        colour = list(COLOURS)[i % 5]
        coloured(tmp_path / "said" / f"{i}.png", colour, i, noise=5.0)
        one, two = rng.choice(THINGS, 2, replace=False)
        split = "train" if i < 18 else "val"
        rows.append([f"{i}.png", split, f"a {colour} {one} near a {two}", f"the {one} by the {colour} {two}"])
    with (tmp_path / "said" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "split", "caption_0", "caption_1"], *rows])
    return tmp_path / "said"


@pytest.mark.parametrize(("slug", "metric"), [("nearest-caption", "cider_d"), ("clip-score", "accuracy")])
def test_what_knows_colours_beats_chance_and_its_control_fails(captioned: Path, slug: str, metric: str) -> None:
    proof = prove(slug, ColourBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    assert proof.shown
    assert proof.facts["metric"] == metric
    assert found["items"] == 12
    assert found["claims"][0]["method"][metric] > found["claims"][0]["baseline"][metric]
    json.dumps(proof.as_dict())


def test_balance_is_measured_against_verdicts_of_equal_size(captioned: Path) -> None:
    proof = prove("metaclip", ColourBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    assert found["items"] == 60
    assert found["claims"][0]["method"]["tail_recall"] == 1.0
    assert 0 < found["kept_share"] <= 1


def test_swapped_words_are_counted(captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_proofs, "CLIP4DM", lambda choice: clip4dm.CLIP4DM(choice, layers=2))
    (found,) = prove("clip4dm", DeepBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS).as_dict()["datasets"]
    assert found["items"] == 12
    assert found["claims"][0]["baseline"]["la"] == pytest.approx(1 / 7, abs=0.03)
    assert found["claims"][1]["baseline"]["la"] == pytest.approx(0.5)
    assert set(found["average_precision"]) == {"CLIPScore", "F-CLIPScore"}
    assert 0 <= found["controls"][0]["control"]["la"] <= 1


def test_a_drop_between_domains_is_shown_and_random_groups_have_none(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), ["path,class,group"]
    for i in range(120):
        name, dim = list(COLOURS)[i % 3], i % 2 == 0
        coloured(tmp_path / "set" / f"{i}.png", list(COLOURS)[int(rng.integers(3))] if dim else name, i, noise=5.0)
        rows.append(f"{i}.png,{name},{'dim' if dim else 'bright'}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows))
    proof = prove("counteranimal", ColourBackbone(), Run(), datasets=(str(tmp_path / "set"),), seeds=SEEDS)
    assert proof.shown
    assert proof.as_dict()["datasets"][0]["claims"][0]["gain"] > 0.4
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows[:13]))
    with pytest.raises(DataError, match="two groups of 10 items"):
        prove("counteranimal", ColourBackbone(), Run(), datasets=(str(tmp_path / "set"),), seeds=SEEDS)
