"""The few-shot protocol: every part is there, base never sees new, what is finished is not run again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.colours import ColourBackbone, colour_folder

from diptych.core.data import ClassNames
from diptych.core.errors import DataError, MissingHook, UsageError
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.methods.classify.gda import GDA
from diptych.tasks.protocol import Protocol, protocol
from diptych.tasks.protocol_page import html
from diptych.tasks.rows import Plan

PLAN = Plan(("zero-shot", "gda", "tip-adapter"), (1, 2), (1, 2))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LabelledData]:
    root = tmp_path_factory.mktemp("protocol")
    return {
        "data": open_data(colour_folder(root / "data", {"train": 8, "test": 6})),
        "cross": open_data(colour_folder(root / "cross", {"": 5}, ("red", "blue"))),
        "shift": open_data(colour_folder(root / "shift", {"train": 1, "test": 4}, ("green", "pink", "red"))),
    }


@pytest.fixture(scope="module")
def done(sets: dict[str, LabelledData], tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, Path]:
    out = tmp_path_factory.mktemp("out")
    return run(sets, out), out


def run(sets: dict[str, LabelledData], out: Path) -> Protocol:
    held = Run(out=out, cache=out / "cache")
    return protocol(sets["data"], ColourBackbone(), held, PLAN, cross=[sets["cross"]], shifted=[sets["shift"]], command="it")


def test_all_parts_are_there(done: tuple[Protocol, Path]) -> None:
    made, out = done
    assert made.complete
    assert {(r.label, r.shots) for r in made.board.rows} == {
        ("zero-shot CLIP, single", 0), ("zero-shot CLIP, ensemble", 0), ("GDA", 1), ("GDA", 2), ("Tip-Adapter", 1), ("Tip-Adapter", 2),
    }  # fmt: skip
    kinds = {(r.method, r.kind) for r in made.reaches}
    everywhere = {(slug, k) for slug in ("zero-shot", "gda") for k in ("base", "new", "cross", "shift")}
    assert kinds == everywhere | {("tip-adapter", "base"), ("tip-adapter", "shift")}
    assert "speaks only of the classes" in made.missing["Tip-Adapter, new"]
    assert all(r.shots == 2 for r in made.reaches if r.method == "gda")
    assert set(made.harmonic()) == {"zero-shot CLIP, single", "zero-shot CLIP, ensemble", "GDA"}
    base, new, mean = made.harmonic()["zero-shot CLIP, ensemble"]
    assert mean == pytest.approx(2 / (1 / base + 1 / new))
    written = json.loads((out / "protocol.json").read_text())
    assert written["harmonic"]["zero-shot CLIP, ensemble"]["harmonic"] == pytest.approx(mean)


def test_zero_shot_on_new_classes_is_a_board_of_those_classes(done: tuple[Protocol, Path], sets: dict[str, LabelledData]) -> None:
    from diptych.tasks.board import board

    made, _ = done
    alone = board(sets["cross"], ColourBackbone(), Run(), Plan(("zero-shot",)))
    wanted = {r.label: r.metrics["acc1"] for r in alone.rows}
    assert {r.label: r.accuracy.value for r in made.reaches if r.kind == "cross" and r.method == "zero-shot"} == wanted


def test_shifted_labels_are_those_of_the_data(done: tuple[Protocol, Path], sets: dict[str, LabelledData]) -> None:
    made, _ = done
    found = next(r for r in made.reaches if r.kind == "shift" and r.label == "zero-shot CLIP, ensemble")
    assert found.accuracy.value > 0.5, "12 photos of green, pink and red among five names"


def test_finished_parts_are_taken_from_the_folder(
    done: tuple[Protocol, Path], sets: dict[str, LabelledData], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = done
    fits: list[int] = []
    honest = GDA.fit
    monkeypatch.setattr(GDA, "fit", lambda self, *a: fits.append(1) or honest(self, *a))
    again = run(sets, out)
    assert fits == []
    assert [(r.label, r.kind, r.accuracy) for r in again.reaches] == [(r.label, r.kind, r.accuracy) for r in made.reaches]


def test_a_system_is_fitted_as_transferable_wherever_other_classes_are_asked_and_nowhere_else(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    honest = GDA.fit
    monkeypatch.setattr(
        GDA, "fit", lambda self, kit, classes, *a: seen.append((self.base_to_new, len(classes))) or honest(self, kit, classes, *a)
    )
    run(sets, tmp_path)
    shots, base, transfer = [(False, 5)] * 4, [(True, 3)] * 2, [(True, 5), (False, 5)] * 2
    assert seen == shots + base + transfer, "two seeds each; of the transfers, cross first and then the shifted set"


def test_a_system_that_carries_over_is_asked_for_new_classes(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diptych.features.cache_model import FittedCache
    from diptych.methods.classify.tip_adapter import TipAdapter
    from diptych.methods.classify.zero_shot import ZeroShot

    @dataclass(frozen=True)
    class Carries(FittedCache):
        def for_classes(self, classes: ClassNames) -> Any:
            from diptych.core.data import Evidence
            from diptych.core.kit import Kit

            return ZeroShot().fit(Kit({"main": self.backbone}), classes, Evidence(), Run())

    honest = TipAdapter.fit
    monkeypatch.setattr(TipAdapter, "fit", lambda self, *a: Carries(**vars(honest(self, *a))))
    made = run(sets, tmp_path)
    assert {r.kind for r in made.reaches if r.method == "tip-adapter"} == {"base", "new", "cross", "shift"}
    assert "Tip-Adapter" in made.harmonic()


def test_base_sees_nothing_of_new(sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ClassNames] = []
    honest = GDA.fit

    def watched(self: GDA, kit: Any, classes: ClassNames, evidence: Any, run: Run) -> Any:
        seen.append(classes)
        assert evidence.train is not None
        assert int(np.max(evidence.train.labels())) < len(classes)
        return honest(self, kit, classes, evidence, run)

    monkeypatch.setattr(GDA, "fit", watched)
    run(sets, tmp_path)
    assert ("blue", "green", "pink") in [c.names for c in seen]


def test_coop_carries_over_and_a_context_for_each_class_does_not() -> None:
    import torch

    from diptych.methods.classify.coop import FittedCoOp

    fitted = FittedCoOp(ClassNames(("a", "b")), ColourBackbone(), {"context": torch.zeros(4, 8)}, "end")
    assert fitted.for_classes(ClassNames(("c",))).classes.names == ("c",)
    with pytest.raises(MissingHook, match="context for each class"):
        replace(fitted, prompt={"context": torch.zeros(2, 4, 8)}).for_classes(ClassNames(("c",)))


def test_the_page(done: tuple[Protocol, Path]) -> None:
    page = html(done[0])
    for words in ("Accuracy against shots", "Base to new classes", "Other data sets", "Shifted test sets", "Left out"):
        assert words in page
    assert "<script" not in page


def test_bad_input(sets: dict[str, LabelledData], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="results folder"):
        protocol(sets["data"], ColourBackbone(), Run(), PLAN)
    with pytest.raises(UsageError, match="at least 2 each"):
        protocol(sets["cross"], ColourBackbone(), Run(out=tmp_path), PLAN)
    other = open_data(colour_folder(tmp_path / "o", {"": 2}, ("yellow",)))
    renamed = LabelledData("other", ("violet",), other.splits)
    with pytest.raises(DataError, match="no class of"):
        protocol(sets["data"], ColourBackbone(), Run(out=tmp_path), PLAN, shifted=[renamed])
