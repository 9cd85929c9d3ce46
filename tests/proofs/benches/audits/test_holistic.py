"""Proof of the holistic audit, on pictures of colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, Run
from proofs.benches.audits.holistic import CUES, PHOTOS, TRIAL
from proofs.prove import prove
from tests.support.colours import COLOURS, ColourBackbone, coloured

SEEDS = (1, 2, 3)


def test_the_axes_of_photos_are_measured_with_their_controls(tmp_path: Path) -> None:
    for k, name in enumerate(list(COLOURS)[:4]):
        (tmp_path / PHOTOS[0] / "test" / name).mkdir(parents=True)
        for i in range(12):
            coloured(tmp_path / PHOTOS[0] / "test" / name / f"{i}.png", name, 100 * k + i, noise=20.0)
    proof = prove("holistic-robustness", ColourBackbone(), Run(), datasets=(str(tmp_path / PHOTOS[0]),), seeds=SEEDS)
    (found,) = proof.as_dict()["datasets"]
    claims = {c["name"]: c for c in found["claims"]}
    controls = {c["name"]: c for c in found["controls"]}
    assert set(claims) == {c.name for c in TRIAL.claims if PHOTOS[0] in c.on}
    assert set(controls) == {c.name for c in TRIAL.controls if PHOTOS[0] in c.on}
    assert claims["AUROC of MCM, classes without a name"]["method"]["value"] > 0.6
    assert controls["AUROC between halves of the named classes"]["control"]["value"] == pytest.approx(0.5, abs=0.1)
    assert claims["worst factor, below the mean of all factors"]["shown"], (
        "other colours are worst for a model of colours"
    )
    assert all(c["failed"] for c in controls.values())
    worst = {t["name"]: t["own"]["value"] for t in found["beside"] if t["name"].startswith("drop, ")}
    assert max(worst, key=lambda name: worst[name]) == "drop, color"
    assert worst["drop, smaller"] < 0.1


def test_cues_are_answered_by_one_of_the_two_classes(tmp_path: Path) -> None:
    folder = tmp_path / CUES[0]
    folder.mkdir()
    names, rows = list(COLOURS), ["path,kind,shape_class,texture_class"]
    for i in range(40):
        shape, texture = names[i % 5], names[(i // 5 + i + 1) % 5]
        coloured(folder / f"{i}.png", texture, i, noise=5.0)
        rows.append(f"{i}.png,cue_conflict,{shape},{texture}")
    (folder / "labels.csv").write_text("\n".join(rows))
    (found,) = prove("holistic-robustness", ColourBackbone(), Run(), datasets=(str(folder),), seeds=SEEDS).as_dict()[
        "datasets"
    ]
    (claim,) = found["claims"]
    assert claim["method"]["value"] == 1.0
    assert claim["baseline"]["value"] == pytest.approx(0.4)
    texture = next(t for t in found["beside"] if t["name"] == "answers that name the texture")
    assert (texture["own"]["value"], texture["twin"]["value"]) == (0.0, 1.0)


def test_too_few_classes_are_named(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / "two" / name).mkdir(parents=True)
        coloured(tmp_path / "two" / name / "0.png", name, 0)
    with pytest.raises(DataError, match="has 2 classes"):
        prove("holistic-robustness", ColourBackbone(), Run(), datasets=(str(tmp_path / "two"),), seeds=SEEDS)
