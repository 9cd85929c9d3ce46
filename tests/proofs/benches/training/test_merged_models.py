from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.load import load
from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.spoils import as_subclass
from diptych.methods.segment.sam_clip import SAMCLIP
from proofs.benches.training import merged_models as proof
from tests.support.sam import small_sam


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "LESSONS", 8)
    monkeypatch.setattr(proof, "SHOWN", 2)
    monkeypatch.setattr(proof, "SAM", 4)
    monkeypatch.setattr(proof, "FIT", dataclasses.replace(proof.FIT, batch=2, steps=1))
    quick = {**proof.SHORT, "batch": 4, "epochs": 1, "probe_epochs": 1, "hidden": 16, "prompts": 1}
    monkeypatch.setattr(proof, "SHORT", quick)


def test_the_bench_measures_names_and_what_is_kept(small: None) -> None:
    bench = proof.MergeBench(load("tiny"), Run(), (1, 2), SamMasks(small_sam()))
    probe = bench.measure(Arm("sam-clip", "probe"))
    assert probe.values.shape == (2, 2)
    assert ((probe.values >= 0) & (probe.values <= 1)).all()
    np.testing.assert_allclose(probe.parts[proof.PROMPTED].values, 1.0, atol=1e-6)  # SAM is as it was
    both = bench.measure(Arm("sam-clip", spoil=as_subclass(proof.OtherVectors)))
    assert (both.parts[proof.PROMPTED].values < 1).all()
    moved, halfway = (
        bench.measure(Arm("sam-clip", "no replay", spoil=spoil)).parts[proof.PROMPTED].values
        for spoil in (None, as_subclass(proof.Halfway))
    )
    assert (halfway > moved).all()  # nearer to SAM
    assert bench.measure(Arm(CHANCE)).values.mean() == pytest.approx(1 / 6)
    assert bench.measure(Arm("maskclip")).values.shape == (2, 2)


def test_the_small_sam_is_trained_and_other_data_are_refused(small: None) -> None:
    one, two = proof.sam_of_scenes(Run()), proof.sam_of_scenes(Run())
    assert one.fingerprint == two.fingerprint != proof.sam_of_scenes(Run(seed=1)).fingerprint
    with pytest.raises(NotAvailable, match="scenes"):
        proof.open_merged("msrc_small", load("tiny"), Run(), (1,))


def test_correlation_is_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5))
    expected = np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])
    assert proof.correlation(a, b) == pytest.approx(expected)


def test_other_vectors_are_the_same_in_another_order() -> None:
    backbone, run = load("tiny"), Run()
    photos = proof.Pictures(proof.Scenes(proof.TOLD, 5))
    own, other = (kind().taught(backbone, photos, run) for kind in (SAMCLIP, proof.OtherVectors))
    assert not torch.equal(own, other)
    torch.testing.assert_close(own.sort(0).values, other.sort(0).values)
