from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import Arm
from diptych.evaluation.spoils import Altered
from diptych.methods.classify.coop import CoOp
from proofs import classify
from proofs.benches import new_classes as proof
from proofs.prove import prove
from tests.support.colours import ColourBackbone, colour_folder
from tests.support.visual_backbone import VisualBackbone


def test_systems_are_fitted_on_base_classes_and_asked_about_the_others(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "colours", {"train": 4, "test": 3})
    bench = proof.open_new(f"new:{folder}", ColourBackbone(), Run(), (1, 2))
    base, new = bench.inner.desk.classes.names, bench.new[1].names
    assert (len(base), len(new)) == (3, 2)
    assert set(base).isdisjoint(new)
    assert bench.facts["new_classes"] == list(new)
    assert bench.facts["new_items"] == 6
    measured = bench.measure(Arm("zero-shot", "ensemble"))
    assert measured.values.shape == (2, 6)
    assert measured.values.mean() > 0.8, "a backbone that knows colours knows new ones; by chance half are right"
    with pytest.raises(NotAvailable, match="has no new classes"):
        proof.open_new("cifar10_small", ColourBackbone(), Run(), (1, 2))


def test_a_prompt_learnt_on_base_classes_is_carried_over(tmp_path: Path) -> None:
    """The shots are of base classes; a system that was fitted to them answers with the new names."""
    folder = colour_folder(tmp_path / "colours", {"train": 2, "test": 2})
    bench = proof.open_new(f"new:{folder}", VisualBackbone(), Run(), (1,))
    measured = bench.measure(Arm("coop", "cocoop", 1))
    assert measured.values.shape == (1, 4)
    assert set(np.unique(measured.values)) <= {0.0, 1.0}


def test_the_base_has_the_words_and_steps_of_cocoop_without_its_network() -> None:
    system = CoOp(**CoOp.card.variants["cocoop"])
    plain = proof.UNCONDITIONAL.change(system, Run())
    assert (plain.conditional, plain.words, plain.batch, plain.epochs) == (False, system.words, system.batch, 10)


def test_the_proof_of_a_row_measures_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison of the proof is made, with one shot in the place of its 16."""
    folder = colour_folder(tmp_path / "colours", {"train": 2, "test": 2})
    monkeypatch.setattr(proof, "SHOTS", 1)
    monkeypatch.setattr(proof, "UNCONDITIONAL", Altered(lambda system, run: replace(system, conditional=False)))
    monkeypatch.setattr(classify, "TRIALS", {"coop:cocoop": proof.trial(classify.shuffled_labels)})
    record = prove("coop:cocoop", VisualBackbone(), Run(), datasets=[f"new:{folder}"], seeds=(1, 2, 3))
    (told,) = record.datasets
    assert (record.slug, record.facts["name"], told["proved_variant"]) == ("coop:cocoop", "CoOp, cocoop", "cocoop")
    assert [len(told[part]) for part in ("claims", "controls", "beside")] == [2, 1, 1]
