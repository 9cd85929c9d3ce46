"""The few-shot protocol: every part is there, base never sees new, what is finished is not run again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import ClassNames, DataError, Evidence, MissingHook, Run, UsageError
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.words.pools import VERSUS, Pool, read_pool
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.protocol import Protocol, protocol
from diptych.evaluation.pages.protocol import html
from diptych.methods.classify.description import Description
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.mocoop import MoCoOp
from diptych.methods.classify.nola import NoLA
from diptych.methods.classify.tip_adapter import TipAdapter
from diptych.methods.classify.zero_shot import FittedZeroShot, ZeroShot
from tests.support.colours import ColourBackbone, colour_folder, colour_pool

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


@pytest.fixture
def texts(tmp_path: Path) -> Pool:
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(colour_pool()))
    return read_pool(path)


def run(sets: dict[str, LabelledData], out: Path, plan: Plan = PLAN, **more: Any) -> Protocol:
    held = Run(out=out, cache=out / "cache")
    others: dict[str, Any] = {"cross": [sets["cross"]], "shifted": [sets["shift"]], **more}
    return protocol(sets["data"], ColourBackbone(), held, plan, command="it", **others)


def places(made: Protocol, slug: str) -> set[str]:
    return {r.kind for r in made.reaches if r.method == slug}


def watch(monkeypatch: pytest.MonkeyPatch, system: type[Any]) -> list[tuple[int, Evidence[Any]]]:
    """Return what every fit from now on is given: number of classes and evidence."""
    seen: list[tuple[int, Evidence[Any]]] = []
    honest = system.fit

    def fit(self: Any, kit: Any, classes: ClassNames, evidence: Evidence[Any], run: Run) -> Any:
        seen.append((len(classes), evidence))
        return honest(self, kit, classes, evidence, run)

    monkeypatch.setattr(system, "fit", fit)
    return seen


@dataclass(frozen=True)
class Carries(FittedZeroShot):
    """Zero-shot, in the place of a system whose training is not the matter."""

    def for_classes(self, classes: ClassNames) -> Carries:
        return carries(self.backbone, classes)


def carries(backbone: Any, classes: ClassNames) -> Carries:
    from diptych.core import Kit

    return Carries(**vars(ZeroShot().fit(Kit({"main": backbone}), classes, Evidence(), Run())))


def test_all_parts_are_there(done: tuple[Protocol, Path]) -> None:
    made, out = done
    assert made.complete
    assert {(r.label, r.shots) for r in made.board.rows} == {
        ("zero-shot CLIP, single", 0), ("zero-shot CLIP, ensemble", 0), ("GDA", 1), ("GDA", 2), ("Tip-Adapter", 1),
        ("Tip-Adapter", 2),
    }  # fmt: skip
    kinds = {(r.method, r.kind) for r in made.reaches}
    everywhere = {(slug, k) for slug in ("zero-shot", "gda") for k in ("base", "new", "cross", "shift")}
    assert kinds == everywhere | {("tip-adapter", "base"), ("tip-adapter", "shift")}
    assert "applies only to the classes" in made.missing["Tip-Adapter, new"]
    assert all(r.shots == 2 for r in made.reaches if r.method == "gda")
    assert set(made.harmonic()) == {"zero-shot CLIP, single", "zero-shot CLIP, ensemble", "GDA"}
    base, new, mean = made.harmonic()["zero-shot CLIP, ensemble"]
    assert mean == pytest.approx(2 / (1 / base + 1 / new))
    written = json.loads((out / "protocol.json").read_text())
    assert written["harmonic"]["zero-shot CLIP, ensemble"]["harmonic"] == pytest.approx(mean)


def test_zero_shot_on_new_classes_is_a_board_of_those_classes(
    done: tuple[Protocol, Path], sets: dict[str, LabelledData]
) -> None:
    from diptych.evaluation.few_shot.board import board

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
    assert [(r.label, r.kind, r.accuracy) for r in again.reaches] == [
        (r.label, r.kind, r.accuracy) for r in made.reaches
    ]


def test_a_system_is_fitted_as_transferable_wherever_other_classes_are_asked_and_nowhere_else(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    honest = GDA.fit
    monkeypatch.setattr(
        GDA,
        "fit",
        lambda self, kit, classes, *a: seen.append((self.base_to_new, len(classes))) or honest(self, kit, classes, *a),
    )
    run(sets, tmp_path)
    shots, base, transfer = [(False, 5)] * 4, [(True, 3)] * 2, [(True, 5), (False, 5)] * 2
    assert seen == shots + base + transfer, "two seeds each; of the transfers, cross first and then the shifted set"


def test_a_system_that_carries_over_is_asked_for_new_classes(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TipAdapter, "fit", lambda self, kit, classes, *a: carries(kit.parts["main"], classes))
    made = run(sets, tmp_path)
    assert {r.kind for r in made.reaches if r.method == "tip-adapter"} == {"base", "new", "cross", "shift"}
    assert "Tip-Adapter" in made.harmonic()


def test_base_sees_nothing_of_new(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_what_is_missing_is_named_again_and_asked_no_second_time(
    done: tuple[Protocol, Path], sets: dict[str, LabelledData], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = done
    assert {"Tip-Adapter, new", f"Tip-Adapter, cross {sets['cross'].name}"} <= set(made.missing)
    fits = watch(monkeypatch, TipAdapter)
    assert run(sets, out).missing == made.missing
    assert fits == []


def test_a_set_that_is_added_later_is_measured_and_no_other_place_again(
    done: tuple[Protocol, Path], sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(sets, tmp_path, cross=[])
    assert places(first, "gda") == {"base", "new", "shift"}
    gda, tip = watch(monkeypatch, GDA), watch(monkeypatch, TipAdapter)
    both = run(sets, tmp_path)
    assert [len(fits) for fits in (gda, tip)] == [2, 2], "one fit a seed, for the set that was added"
    assert {(r.label, r.kind, r.accuracy) for r in both.reaches} == {
        (r.label, r.kind, r.accuracy) for r in done[0].reaches
    }
    assert both.missing == done[0].missing
    assert run(sets, tmp_path, cross=[]).reaches == first.reaches
    assert [len(fits) for fits in (gda, tip)] == [2, 2], "what was asked before is still there"


def test_a_damaged_file_is_made_again(sets: dict[str, LabelledData], tmp_path: Path) -> None:
    plan = replace(PLAN, methods=("zero-shot",))
    made = run(sets, tmp_path, plan)
    files = list(tmp_path.glob("*/rows/*.hits.npz"))
    assert len(files) == 4
    for path, content in zip(files, (b"", b"x", files[2].read_bytes()[:100], b"PK"), strict=True):
        path.write_bytes(content)
    assert run(sets, tmp_path, plan).reaches == made.reaches


def test_the_pools_of_the_data_sets_are_found_by_their_own_names(
    sets: dict[str, LabelledData], tmp_path: Path, texts: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(("description", "discriminative-descriptions"), (2,), (1,))
    own = {sets["data"].name: texts}
    for module in ("rows", "protocol"):
        monkeypatch.setattr(f"diptych.evaluation.few_shot.{module}.pool_of", own.get)
    made = run(sets, tmp_path, plan)
    assert places(made, "description") == {"base", "new", "cross", "shift"}
    assert places(made, "discriminative-descriptions") == {"base", "shift"}
    assert "applies only to the classes" in made.missing["DisCLIP, new"]

    wordier = {name: (*values, *values[:1]) for name, values in texts.texts.texts.items()}
    less = {name: values for name, values in wordier.items() if "red" not in name.split(VERSUS)}
    monkeypatch.setattr(
        "diptych.evaluation.few_shot.rows.pool_of",
        {sets["data"].name: replace(texts, texts=replace(texts.texts, texts=less))}.get,
    )
    own[sets["cross"].name] = replace(texts, texts=replace(texts.texts, texts=wordier))
    seen = watch(monkeypatch, Description)
    made = run(sets, tmp_path / "less", Plan(("description",)))
    assert places(made, "description") == {"base", "cross"}
    assert "no list for 'red'" in made.missing["classification by description, new"]
    assert [len(e.texts.texts["blue"]) for k, e in seen if k == 2 and e.texts and "blue" in e.texts.texts] == [3, 3], (
        "of each variant"
    )


def test_texts_are_those_of_the_classes_asked_and_other_texts_are_another_result(
    sets: dict[str, LabelledData], tmp_path: Path, texts: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(("description", "fudd"), (1,), (1,))
    assert run(sets, tmp_path, plan).reaches == ()
    seen = watch(monkeypatch, Description)
    made = run(sets, tmp_path, plan, texts=texts)
    for slug in plan.methods or ():
        assert places(made, slug) == {"base", "new", "cross", "shift"}
    told = [{name for key in e.texts.texts for name in key.split(VERSUS)} for k, e in seen if e.texts and k < 5]
    base, new, cross = {"blue", "green", "pink"}, {"red", "yellow"}, {"blue", "red"}
    assert told == [base, new, base, new, cross, cross], "of two variants"
    count = len(seen)
    run(sets, tmp_path, plan, texts=texts)
    assert len(seen) == count


def test_what_learns_from_photos_without_labels_is_not_asked_for_classes_that_they_do_not_show(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []

    def fit(self: NoLA, kit: Any, classes: ClassNames, evidence: Evidence[Any], run: Run) -> Carries:
        seen.append(classes.names)
        return carries(kit.parts["main"], classes)

    monkeypatch.setattr(NoLA, "fit", fit)
    made = run(sets, tmp_path, Plan(("nola",), (1,), (1,)))
    assert places(made, "nola") == {"base", "shift"}
    assert "photos without labels" in made.missing["NoLA, new"]
    assert made.missing[f"NoLA, head, cross {sets['cross'].name}"]
    assert {len(names) for names in seen} == {5, 3}
    assert "NoLA" not in made.harmonic()


def test_the_names_of_new_classes_are_told_to_systems_that_list_them(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, Any]] = []

    def fit(self: MoCoOp, kit: Any, classes: ClassNames, evidence: Evidence[Any], run: Run) -> Carries:
        told.append((len(classes), evidence.other_classes and evidence.other_classes.names))
        return carries(kit.parts["main"], classes)

    monkeypatch.setattr(MoCoOp, "fit", fit)
    gda, plan = watch(monkeypatch, GDA), Plan(("mocoop", "gda"), (1,), (1,))
    made = run(sets, tmp_path, plan)
    assert places(made, "mocoop") == {"base", "new", "cross", "shift"}
    variants = len(MoCoOp.card.variants)
    assert told == [(5, None)] * variants + [(3, ("red", "yellow"))] * variants + [(5, None)] * variants
    assert {e.other_classes for _, e in gda} == {None}

    told.clear()
    gda.clear()
    data = sets["data"]
    renamed = LabelledData(data.name, (*data.classes[:-1], "zinc yellow"), data.splits)
    run({**sets, "data": renamed}, tmp_path, plan, shifted=[], cross=[])
    assert [names for k, names in told if k == 3] == [("red", "zinc yellow")] * variants
    assert [k for k, _ in gda] == [5, 3], "new is asked again under its new name, and fits anew for that"


def test_a_fault_is_named_and_the_rest_goes_on_and_it_is_tried_again(
    sets: dict[str, LabelledData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = GDA.fit

    def fit(self: GDA, kit: Any, classes: ClassNames, evidence: Evidence[Any], run: Run) -> Any:
        if self.base_to_new and run.seed == 2:
            raise RuntimeError("out of luck")
        return honest(self, kit, classes, evidence, run)

    with monkeypatch.context() as patch:
        patch.setattr(GDA, "fit", fit)
        made = run(sets, tmp_path)
    assert made.complete
    for place in ("base", "new", f"cross {sets['cross'].name}"):
        reason = made.missing[f"GDA, {place}, seed 2"]
        assert reason.startswith("It failed, please report it: RuntimeError: out of luck (test_protocol.py, line ")
    assert f"GDA, shift {sets['shift'].name}, seed 2" not in made.missing
    assert places(made, "tip-adapter") == {"base", "shift"}, "it comes after"
    assert places(made, "gda") == {"base", "new", "cross", "shift"}, "the other seed"
    assert any(len(labels) == 3 for reason, labels in made.reasons().items() if "out of luck" in reason)
    assert "out of luck" in html(made)
    again = run(sets, tmp_path)
    assert not [label for label in again.missing if "GDA" in label]


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
    with pytest.raises(UsageError, match="called cross, and results go by name"):
        protocol(sets["data"], ColourBackbone(), Run(out=tmp_path), PLAN, cross=[sets["cross"], sets["cross"]])
