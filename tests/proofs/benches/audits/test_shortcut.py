"""Proof of shortcut learning with small heads, and on pictures of colours."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diptych.core import Run
from diptych.methods.audit.shortcut_learning import ShortcutLearning
from diptych.nn.two_class_head import Head
from proofs.benches.audits import shortcut as audit_shortcut
from proofs.benches.audits.latents import Latents
from proofs.benches.audits.shortcut import HEADS, LINEAR, RATIOS, bias_curve
from proofs.prove import prove
from tests.support.colours import COLOURS, ColourBackbone, coloured

SEEDS = (1, 2, 3)


def test_a_converged_linear_head_gains_nothing_by_availability(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {word: replace(head, depth=min(head.depth, 1), width=16, epochs=2) for word, head in HEADS.items()}
    monkeypatch.setattr(audit_shortcut, "HEADS", small)
    monkeypatch.setattr(audit_shortcut, "TRAININGS", 1)
    proof = prove("shortcut-learning", ColourBackbone(), Run(), datasets=("latents",), seeds=SEEDS)
    (verdict,) = proof.as_dict()["datasets"]
    assert [c["over"] for c in verdict["claims"]] == [
        "network, core", "network, equal", "network, core", "linear, shortcut"
    ]  # fmt: skip
    (control,) = verdict["controls"]
    assert (control["gain"], control["failed"]) == (0, True)
    assert len({round(t["twin"]["bias"], 6) for t in verdict["beside"]}) > 1


def test_photos_are_a_composite_with_a_control_of_squares_that_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_shortcut, "DRAWS", 1)
    heads = (("linear head", Head(c=0.01)), ("network", Head(depth=1, width=8, epochs=5)))
    monkeypatch.setattr(audit_shortcut, "ShortcutLearning", partial(ShortcutLearning, heads=heads))
    rows = ["path,class,split"]
    for i in range(60):
        name = list(COLOURS)[i % 2]
        coloured(tmp_path / "cifar10_small" / f"{i}.png", name, i, noise=5.0)
        rows.append(f"{i}.png,{name},test")
    (tmp_path / "cifar10_small" / "labels.csv").write_text("\n".join(rows))
    photos = str(tmp_path / "cifar10_small")
    proof = prove("shortcut-learning", ColourBackbone(), Run(), datasets=(photos,), seeds=SEEDS)
    (verdict,) = proof.as_dict()["datasets"]
    assert verdict["composite"] == "a square on photos of green and red"
    assert verdict["items"] == 30
    assert verdict["controls"][0]["failed"]
    assert [c["name"] for c in verdict["controls"]] == ["squares that say nothing, drawn again"]


def test_a_converged_linear_head_has_one_bias_near_zero_at_every_availability() -> None:
    curves = np.array([bias_curve(LINEAR, tuple(RATIOS.values()), Latents(), seed, samples=2000) for seed in range(4)])
    assert np.ptp(curves, axis=1).max() < 0.01
    assert abs(curves.mean()) < 0.08


def test_a_network_follows_the_more_available_feature() -> None:
    curve = bias_curve(Head(depth=1), tuple(RATIOS.values()), Latents(), 0)
    assert curve[0] < curve[1] < curve[2]
    assert curve[2] > 0.15
