"""Proof of quality not quantity on Gaussians, and on pictures of colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import Run
from proofs.benches.audits import sources as audit_sources
from proofs.prove import prove
from tests.support.colours import COLOURS, ColourBackbone, coloured

SEEDS = (1, 2, 3)


def test_gaussians_agree_with_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_sources, "SIZES", (200, 400))
    proof = prove("quality-not-quantity", ColourBackbone(), Run(), datasets=("gaussians",), seeds=SEEDS)
    (verdict,) = proof.as_dict()["datasets"]
    assert all(c["shown"] for c in verdict["claims"])
    assert all(c["failed"] for c in verdict["controls"])
    twin = next(t for t in verdict["beside"] if t["over"] == "closed form")
    assert abs(twin["gain"]) < 0.05
    assert verdict["slopes"]["first source"] == pytest.approx(0.6)


def test_equal_sources_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    means = {**audit_sources.MEANS, "second": audit_sources.MEANS["first"]}
    monkeypatch.setattr(audit_sources, "MEANS", means)
    proof = prove("quality-not-quantity", ColourBackbone(), Run(), datasets=("gaussians",), seeds=SEEDS)
    assert not all(c["shown"] for c in proof.as_dict()["datasets"][0]["claims"])


def test_photographs_and_altered_copies_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_sources, "DRAWS", 1)
    monkeypatch.setattr(audit_sources, "FACTOR", "darker")
    folder = tmp_path / "cifar10_small"  # claims and controls are made on data sets of known names
    folder.mkdir()
    rows = ["path,class,split"]
    for i in range(90):
        name = list(COLOURS)[i % 3]
        coloured(folder / f"{i}.png", name, i, noise=60.0)
        rows.append(f"{i}.png,{name},{'train' if i < 60 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    proof = prove("quality-not-quantity", ColourBackbone(), Run(), datasets=(str(folder),), seeds=SEEDS)
    (verdict,) = proof.as_dict()["datasets"]
    assert verdict["items"] == 30
    assert "copies of other photographs darker" in verdict["composite"]
    assert verdict["claims"] == []  # heads on frozen features are measured beside
    assert "heads of the mixture, over those of the first source" in [t["name"] for t in verdict["beside"]]
    assert [c["name"] for c in verdict["controls"]] == [
        "halves of the first source, over the first source",
        "first source, over halves of it",
    ]
