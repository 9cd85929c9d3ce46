"""Trainings on sources of scenes, which are hardly trained here, and their comparison on planted checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from diptych.core import Column, DataError, Probe, Run, Table, Texts
from diptych.metrics.source_lines import Points
from proofs.benches.audits import scene_sources
from proofs.benches.audits.scene_sources import FIRST, MIXTURE, MORE, SECOND, SLOW
from proofs.prove import prove
from tests.support.colours import ColourBackbone

LABELS = np.arange(600) % 6
CHANCE = float(ndtri(1 / 6))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_sources, "SCENES", 16)
    monkeypatch.setattr(scene_sources, "TEST", 12)
    monkeypatch.setattr(scene_sources, "FIT", replace(scene_sources.FIT, steps=3, batch=8, watch_every=1))
    monkeypatch.setattr(scene_sources, "SEEN", (1, 3))


def test_tests_are_scenes_of_either_source_and_none_of_a_training() -> None:
    probes = scene_sources.probes_of(Run())
    assert [probe.role for probe in probes.values()] == ["id", "shift"]
    keys = [[probe.table.items.key(i) for i in range(12)] for probe in probes.values()]
    trained = scene_sources.rows_of("mixture", Run())
    assert not {*keys[0], *keys[1]} & {trained.items.key(i) for i in range(len(trained))}
    assert probes["shift"].named().prompts()[0][0] == "a red circle"


def test_trainings_have_as_many_scenes_as_their_sources_say() -> None:
    keys = {}
    for source in scene_sources.SOURCES:
        rows = scene_sources.rows_of(source, Run())
        assert len(rows.columns["captions"].values) == len(rows)
        keys[source] = {rows.items.key(i) for i in range(len(rows))}
    assert [len(own) for own in keys.values()] == [16, 16, 16, 32, 16]
    assert len(keys["mixture"] & keys["first source"]) == len(keys["mixture"] & keys["second source"]) == 8
    assert keys["first source"] == keys["slow training on the first"] < keys["more of the first"]


def test_a_training_that_was_finished_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(seed=3, cache=tmp_path)
    probes = scene_sources.probes_of(run)
    logits = scene_sources.checkpoints("mixture", probes, run)
    assert {name: z.shape for name, z in logits.items()} == {"reference": (2, 12, 6), "shift": (2, 12, 6)}
    assert not np.array_equal(logits["shift"][0], logits["shift"][-1])
    (path,) = (tmp_path / "source-trainings").iterdir()

    def fails(*_: object, **__: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(scene_sources, "train_space", fails)
        again = scene_sources.checkpoints("mixture", probes, run)
        assert all(np.array_equal(again[name], z) for name, z in logits.items())
        with pytest.raises(AssertionError):
            scene_sources.checkpoints("mixture", probes, replace(run, seed=4))
        patched.setattr(scene_sources, "PACES", {MIXTURE: 0.5})
        with pytest.raises(AssertionError):
            scene_sources.checkpoints("mixture", probes, run)
    path.write_bytes(b"half a file")
    made = scene_sources.checkpoints("mixture", probes, run)
    assert all(np.allclose(made[name], z) for name, z in logits.items())


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, float]]:
    """Source -> slope of its line through chance, and how far its checkpoints come on the reference, in probits."""
    lines = {FIRST: (0.4, 3.0), SECOND: (1.0, 1.2), MIXTURE: (0.7, 1.6), MORE: (0.4, 3.0), SLOW: (0.4, 1.4)}

    def logits(probit: float, rng: np.random.Generator) -> NDArray[np.float64]:
        right = rng.permutation(600) < round(600 * ndtr(CHANCE + probit))
        return np.eye(6)[np.where(right, LABELS, (LABELS + 1) % 6)] * 1.0

    def checkpoints(source: str, probes: object, run: Run) -> dict[str, NDArray[np.float64]]:
        (slope, most), rng = lines[source], np.random.default_rng(run.integer(source))
        grown = np.linspace(0.2, most, 8) + rng.normal(0, 0.01, 8)
        return {
            name: np.stack([logits(times * z, rng) for z in grown])
            for name, times in (("reference", 1.0), ("shift", slope))
        }

    table = Table(Texts(tuple(map(str, range(600)))), {"label": Column("label", LABELS)})
    monkeypatch.setattr(scene_sources, "TEST", 600)
    monkeypatch.setattr(scene_sources, "checkpoints", checkpoints)
    monkeypatch.setattr(scene_sources, "probes_of", lambda run: {n: Probe(table) for n in ("reference", "shift")})
    return lines


def test_planted_lines_are_found_at_equal_reference_accuracy(planted: dict[str, tuple[float, float]]) -> None:
    proof = prove("quality-not-quantity", ColourBackbone(), Run(), datasets=("scenes",))
    assert proof.shown
    (verdict,) = proof.as_dict()["datasets"]
    assert [c["method"]["slope"] for c in verdict["claims"]] == pytest.approx([0.7, 1.0], abs=0.03)
    # the probits of accuracies about chance, from 0.2 to 1.2, that the slowest training reaches too
    x = np.linspace(ndtr(CHANCE + 0.2), ndtr(CHANCE + 1.2), 20)
    slower, faster = (ndtr(CHANCE + slope * (ndtri(x) - CHANCE)) for slope in (0.4, 0.7))
    assert verdict["claims"][0]["gain"] == pytest.approx(float((faster - slower).mean()), abs=0.01)
    low, high = verdict["shared_reference_accuracies"][0]
    assert (low, high) == pytest.approx((x[0], x[-1]), abs=0.02)


def test_the_closed_form_weighs_sources_by_how_far_they_come(planted: dict[str, tuple[float, float]]) -> None:
    planted[FIRST] = planted[MORE] = planted[SLOW] = (0.4, 1.2)
    (verdict,) = prove("quality-not-quantity", ColourBackbone(), Run(), datasets=("scenes",)).as_dict()["datasets"]
    twins = {t["name"]: t for t in verdict["beside"]}
    assert abs(twins["mixture, over its closed form"]["gain"]) < 0.01


@pytest.mark.parametrize(
    "changed", [{MIXTURE: (0.4, 1.6)}, {MIXTURE: (1.0, 1.6)}, {MORE: (0.7, 3.0)}, {SLOW: (0.7, 1.4)}]
)
def test_a_mixture_that_is_not_between_or_a_control_that_helps_shows_nothing(
    planted: dict[str, tuple[float, float]], changed: dict[str, tuple[float, float]]
) -> None:
    planted |= changed
    assert not prove("quality-not-quantity", ColourBackbone(), Run(), datasets=("scenes",)).shown


def test_trainings_that_share_no_accuracy_are_refused() -> None:
    points = {source: Points(np.array([0.2, 0.9]), np.array([0.2, 0.5])) for source in scene_sources.SOURCES}
    assert scene_sources._shared({**points, SECOND: Points(np.array([0.1, 0.6]), np.array([0.1, 0.6]))})[[0, -1]] == (
        pytest.approx([0.2, 0.6])
    )
    with pytest.raises(DataError, match="share no reference accuracy"):
        scene_sources._shared({**points, SECOND: Points(np.array([0.1, 0.15]), np.array([0.1, 0.2]))})
