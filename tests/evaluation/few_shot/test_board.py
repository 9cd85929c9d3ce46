"""The board: rows, gains, resuming, interruption, missing hooks, broken files."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import catalog
from diptych.core import (
    ClassNames,
    Column,
    DataError,
    MissingHook,
    Run,
    SilentProgress,
    Table,
    Text,
    TextPool,
    UsageError,
)
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.splits import ValRule
from diptych.data.words.pools import Pool
from diptych.evaluation.few_shot import inputs
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.gains import best
from diptych.evaluation.few_shot.held import apart, keys_of
from diptych.evaluation.few_shot.inputs import code_of
from diptych.evaluation.few_shot.plan import Job, Plan
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.evaluation.few_shot.work import jobs_of
from diptych.methods.classify.coop import CoOp
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.tip_adapter import TipAdapter
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.detect.anomalyclip import AnomalyCLIP
from diptych.methods.retrieve.string_matching import StringMatching
from tests.support.colours import ColourBackbone, colour_folder

CLASSIFIERS = [c["slug"] for c in catalog.cards() if c["verb"] == "classify"]
SMALL = Plan(("zero-shot", "gda"), (1,), (1, 2))


def numbers(made: Board) -> list[Any]:
    return [(r.label, r.shots, r.metrics, dict(r.ci95)) for r in made.rows]


def test_all_classifiers_stand_on_the_board_at_all_shots_and_seeds(finished: tuple[Board, Path]) -> None:
    made, out = finished
    assert made.complete
    cards = {c["slug"]: c for c in catalog.cards() if c["verb"] == "classify"}
    hooked = {slug for slug, card in cards.items() if any(h.startswith("tower") for h in card["needs"]["hooks"])}
    shown = {r.method for r in made.rows}
    assert set(CLASSIFIERS) - hooked <= shown, "this backbone has no towers"
    assert shown | hooked == set(CLASSIFIERS)
    assert all("tower" in reason for reason in made.missing.values()), (
        "a system may have rows that need no tower beside one that does"
    )
    for row in made.rows:
        draws = row.shots or "unlabelled" in catalog.find(row.method).card.needs.evidence
        assert [r.seed for r in row.records] == ([1, 2] if draws else [0])
        low, high = row.ci95["acc1"]
        assert low <= row.metrics["acc1"] <= high
        for record, outcome in zip(row.records, row.outcomes, strict=True):
            assert record.metrics["acc1"] == np.mean(outcome.correct)
    written = json.loads((out / "board.json").read_text())
    assert [r["metrics"]["acc1"] for r in written["rows"]] == [r.metrics["acc1"] for r in made.rows]
    assert len(list((out / "rows").glob("*.json"))) == len(made.records)


def test_the_gain_is_paired_with_the_zero_shot_ensemble(finished: tuple[Board, Path]) -> None:
    made, _ = finished
    base = made.base()
    assert base is not None
    assert base.gain is None
    for row in made.rows:
        if row is not base:
            assert row.gain is not None
            assert row.gain.value == pytest.approx(row.metrics["acc1"] - base.metrics["acc1"], abs=1e-12)
            assert row.gain.low <= row.gain.value <= row.gain.high


def test_rows_that_read_texts_say_which(finished: tuple[Board, Path], pool: Pool) -> None:
    made, out = finished
    for record in made.records:
        needs = catalog.find(record.method).card.needs
        reads = "texts" in (*needs.evidence, *needs.optional)
        assert (record.texts, record.texts_hash) == ((pool.source, pool.hash) if reads else ("", ""))
    assert json.loads((out / "board.json").read_text())["texts"] == pool.as_dict()
    assert any(r.texts for r in made.records)


def test_systems_that_read_texts_are_missing_without_them(data: LabelledData, pool: Pool) -> None:
    plan = Plan(("zero-shot", "description", "fudd", "discriminative-descriptions"), (1,), (1,))
    finished_board = board(data, ColourBackbone(), Run(), plan)
    assert {r.method for r in finished_board.rows} == {"zero-shot"}
    assert set(finished_board.missing) == {
        "classification by description", "classification by description, a photo of a", "FuDD", "FuDD, top 3",
        "DisCLIP",
    }  # fmt: skip
    assert all(
        "evidence.texts is missing" in reason and "give a pool of them as texts" in reason
        for reason in finished_board.missing.values()
    )
    part = Pool("part", TextPool({key: texts for key, texts in pool.texts.texts.items() if "red" not in key}))
    again = board(data, ColourBackbone(), Run(), plan, texts=part)
    assert "no list for 'red'" in again.missing["DisCLIP"]
    assert {r.method for r in again.rows} == {"zero-shot", "fudd"}, "a missing pair is the template"


def test_a_data_set_with_a_pool_of_its_name_is_given_it(data: LabelledData) -> None:
    named = replace(data, name="demo:clothes")
    finished_board = board(named, ColourBackbone(), Run(), Plan(("description",)))
    assert finished_board.texts is not None
    assert finished_board.texts.source == "clothes"
    assert "no list for" in finished_board.missing["classification by description"]


def test_other_texts_make_other_rows_of_those_who_read_them(data: LabelledData, pool: Pool, tmp_path: Path) -> None:
    run = Run(out=tmp_path, cache=tmp_path / "cache")
    plan = Plan(("zero-shot", "description"))
    board(data, ColourBackbone(), run, plan, texts=pool)
    other = Pool("other", TextPool({**pool.texts.texts, "red": (Text("rouge"),)}))
    board(data, ColourBackbone(), run, plan, texts=other)
    found = [path.name.split("-0shot")[0] for path in (tmp_path / "rows").glob("*.json")]
    assert {name: found.count(name) for name in found} == {
        "zero-shot-single": 1, "zero-shot-ensemble": 1, "description": 2, "description-a photo of a": 2,
    }  # fmt: skip


def test_more_shots_help_the_probe(finished: tuple[Board, Path]) -> None:
    made, _ = finished
    probe = {r.shots: r.metrics["acc1"] for r in made.rows if r.method == "linear-probe"}
    assert 0.2 < probe[1] <= probe[4]


def test_finished_rows_are_used_again_and_a_damaged_one_is_made_again(
    data: LabelledData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(out=tmp_path / "out", cache=tmp_path / "cache")
    first = board(data, ColourBackbone(), run, SMALL)
    fits = []
    honest = GDA.fit
    monkeypatch.setattr(GDA, "fit", lambda self, *a: fits.append(a) or honest(self, *a))
    assert numbers(board(data, ColourBackbone(), run, SMALL)) == numbers(first)
    assert fits == []
    next((tmp_path / "out" / "rows").glob("gda*seed2*.npz")).write_bytes(b"")
    assert numbers(board(data, ColourBackbone(), run, SMALL)) == numbers(first)
    assert len(fits) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"plan": Plan(("gda",), (1,), (3,))},
        lambda: {"plan": Plan(("gda",), (2,), (1,))},
        lambda: {"plan": Plan(("gda",), (1,), (1,), "full")},
        lambda: {"classes": ClassNames(("rouge", "green", "blue", "yellow", "pink"))},
        lambda: {"templates": ("{}",)},
    ],
    ids=["seed", "shots", "val", "names", "templates"],
)
def test_other_inputs_make_other_rows(data: LabelledData, tmp_path: Path, change: Callable[[], dict[str, Any]]) -> None:
    run = Run(out=tmp_path, cache=tmp_path / "cache")
    board(data, ColourBackbone(), run, Plan(("gda",), (1,), (1,)), classes=ClassNames(data.classes))
    new = change()
    classes = new.get("classes") or ClassNames(data.classes, new.get("templates", ("a photo of a {}.",)))
    board(data, ColourBackbone(), run, new.get("plan", Plan(("gda",), (1,), (1,))), classes=classes)
    assert len(list((tmp_path / "rows").glob("*.json"))) == 2


class StopsAfter(SilentProgress):
    def __init__(self, rows: int) -> None:
        self.left = rows

    def advance(self, n: int = 1) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_board_says_so_and_goes_on(data: LabelledData, tmp_path: Path) -> None:
    whole = board(data, ColourBackbone(), Run(out=tmp_path / "whole", cache=tmp_path / "cache"), SMALL)
    run = Run(
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        progress=lambda name, total: StopsAfter(3) if name == "rows" else SilentProgress(),
    )
    part = board(data, ColourBackbone(), run, SMALL)
    assert not part.complete
    assert len(part.records) == 3
    assert json.loads((tmp_path / "out" / "board.json").read_text())["complete"] is False
    again = board(data, ColourBackbone(), Run(out=tmp_path / "out", cache=tmp_path / "cache"), SMALL)
    assert again.complete
    assert numbers(again) == numbers(whole)


def test_a_system_that_the_backbone_cannot_run_is_named_with_the_reason(
    data: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: GDA, *args: object) -> None:
        raise MissingHook("colours has no dense maps: use lite.")

    monkeypatch.setattr(GDA, "fit", fit)
    finished_board = board(data, ColourBackbone(), Run(), SMALL)
    assert finished_board.missing == {"GDA": "colours has no dense maps: use lite."}
    assert {r.method for r in finished_board.rows} == {"zero-shot"}
    assert finished_board.complete


def test_broken_files_are_skipped_named_and_replaced(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"train": 5, "test": 4})
    (folder / "test" / "red" / "0.png").write_bytes(b"")
    for i in range(3):
        (folder / "train" / "blue" / f"{i}.png").write_bytes(b"x")
    run = Run(out=tmp_path / "out", cache=tmp_path / "cache")
    finished_board = board(open_data(folder), ColourBackbone(), run, SMALL)
    assert len(finished_board.test) == 19
    assert any("test/red/0.png" in s for s in map(str, finished_board.failed))
    assert any("train/blue" in s for s in map(str, finished_board.failed))
    assert all(r.items == 19 for r in finished_board.records)
    assert (
        board(open_data(folder), ColourBackbone(), run, SMALL).as_dict()["skipped"]
        == finished_board.as_dict()["skipped"]
    )


def test_without_train_only_names_can_speak(tmp_path: Path) -> None:
    finished_board = board(
        open_data(colour_folder(tmp_path, {"": 4})), ColourBackbone(), Run(), Plan(("zero-shot", "gda"))
    )
    assert {r.method for r in finished_board.rows} == {"zero-shot"}
    assert "no train split to learn from: put its class folders below train and test" in finished_board.missing["GDA"]


def test_only_the_shots_get_their_views(data: LabelledData, tmp_path: Path) -> None:
    finished_board = board(data, ColourBackbone(), Run(cache=tmp_path), Plan(("gda",), (2,), (1,)))
    test, shots, train = 50, 5 * 2, 5 * 8
    assert finished_board.facts["encode"]["images"] == test + train + 10 * shots, (
        "what is left of train beside shots and val is held back"
    )


def test_choices_never_see_test(tmp_path: Path) -> None:
    """Other test labels change the accuracy, never the predictions."""
    folder = colour_folder(tmp_path / "a", {"train": 8, "test": 6})
    one = board(open_data(folder), ColourBackbone(), Run(), Plan(("gda", "tip-adapter"), (2,), (1,)))
    for split in (folder / "test",):
        (split / "red").rename(split / "swap")
        (split / "blue").rename(split / "red")
        (split / "swap").rename(split / "blue")
    two = board(open_data(folder), ColourBackbone(), Run(), Plan(("gda", "tip-adapter"), (2,), (1,)))
    for a, b in zip(one.rows, two.rows, strict=True):
        assert sorted(a.outcomes[0].confidence.tolist()) == sorted(b.outcomes[0].confidence.tolist())
        assert a.metrics["acc1"] > b.metrics["acc1"]


def test_what_cannot_mean_anything_is_refused(data: LabelledData, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shots must be"):
        Plan(shots=(0,))
    with pytest.raises(UsageError, match="seed"):
        Plan(seeds=(1, 1))
    with pytest.raises(UsageError, match="2 names for 5 classes"):
        board(data, ColourBackbone(), Run(), SMALL, classes=ClassNames(("a", "b")))
    with pytest.raises(UsageError, match="no system 'gpa'"):
        board(data, ColourBackbone(), Run(), Plan(("gpa",)))
    with pytest.raises(UsageError, match="no classifier"):
        board(data, ColourBackbone(), Run(), Plan(("clip-loss",)))
    with pytest.raises(DataError, match="only a train split"):
        board(open_data(colour_folder(tmp_path, {"train": 2})), ColourBackbone(), Run())


def test_p_values_are_corrected_over_the_rows(finished: tuple[Board, Path]) -> None:
    made, _ = finished
    for row in made.rows:
        assert (row.p is None) == (row.gain is None)
        if row.p is not None and row.gain is not None and (row.p < 0.04):
            assert row.gain.low > 0 or row.gain.high < 0, "what survives the correction shows in the interval"
    assert min(row.p for row in made.rows if row.p is not None) < 1


def test_a_time_out_stops_one_system_and_not_the_others(data: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    def asleep(self: GDA, *given: Any) -> None:
        signal.raise_signal(signal.SIGALRM)  # what the timer of ``deadline`` does in the end
        time.sleep(600)

    monkeypatch.setattr(GDA, "fit", asleep)
    finished_board = board(data, ColourBackbone(), Run(), replace(SMALL, timeout=300))
    assert {r.method for r in finished_board.rows} == {"zero-shot"}
    assert list(finished_board.late) == ["GDA"]
    assert "time-out of 300 s" in finished_board.late["GDA"]
    assert not finished_board.complete
    assert not finished_board.interrupted


def test_a_budget_keeps_what_was_done(data: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 50))
    monkeypatch.setattr("diptych.evaluation.schedule.time.monotonic", lambda: next(clock))
    finished_board = board(data, ColourBackbone(), Run(), replace(SMALL, budget=1e-3))
    assert {r.method for r in finished_board.rows} == {"zero-shot"}, "the baseline is always run"
    assert "the budget of 0.001 s was spent" in finished_board.late["GDA"]
    assert not finished_board.complete
    assert not finished_board.interrupted


def test_one_systems_fault_costs_no_other_row(data: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: GDA, *given: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(GDA, "fit", broken)
    finished_board = board(data, ColourBackbone(), Run(), SMALL)
    assert {r.method for r in finished_board.rows} == {"zero-shot"}
    assert set(finished_board.missing) == {"GDA, 1 shot, seed 1", "GDA, 1 shot, seed 2"}
    assert all("ZeroDivisionError: oh" in reason for reason in finished_board.missing.values())
    assert list(finished_board.reasons().values()) == [["GDA, 1 shot, seed 1", "GDA, 1 shot, seed 2"]]


def test_more_shots_than_items_leave_the_other_rows(data: LabelledData) -> None:
    finished_board = board(data, ColourBackbone(), Run(), Plan(("zero-shot", "gda"), (2, 8), (1,)))
    assert {r.shots for r in finished_board.rows} == {0, 2}
    assert "no readable item left after 8 shots" in finished_board.missing["GDA, 8 shots, seed 1"]


def test_unlabelled_images_are_those_with_the_smallest_keys_whatever_their_labels(data: LabelledData) -> None:
    """Permuted train labels change nothing that a label-free system is given, and what rows are compared on is not
    among it.
    """
    seen = []
    for seed in (0, 1):
        labels = np.random.default_rng(seed).permutation(data.splits["train"].labels())
        train = Table(data.splits["train"].items, {"label": Column("label", labels)})
        desk = Desk(replace(data, splits={**data.splits, "train": train}), data.splits["test"],
                    ClassNames(data.classes), ColourBackbone(), SMALL, Run(), "", "", "",
                    {"images": 0.0, "image_seconds": 0.0}, {}, pooled=True)  # fmt: skip
        images, held = desk.images, desk.held.of(1)
        assert images is not None
        assert held is not None
        seen.append([images.key(i) for i in range(len(images))])
        assert keys_of(held.items) <= desk.reserved
        assert not keys_of(held.items) & set(seen[-1])
    assert seen[0] == seen[1] == sorted(seen[0])
    assert len(seen[0]) == 30, "three quarters of train"


def test_images_that_are_measured_are_not_given_without_labels(data: LabelledData) -> None:
    both = Joined((data.splits["train"].items, data.splits["test"].items))
    desk = Desk.open(
        data, ColourBackbone(), SMALL, Run(), unlabelled=Unlabelled("both", both), jobs=[Job(Pooled(), "", 0, 1)]
    )
    assert desk.images is not None
    assert keys_of(desk.images) <= keys_of(data.splits["train"].items)


class Pooled(ZeroShot):
    card = replace(ZeroShot.card, needs=replace(ZeroShot.card.needs, evidence=("unlabelled",)))


@pytest.mark.parametrize("val", ["coop", "full"])
def test_all_rows_of_a_seed_are_compared_on_the_same_unseen_items(data: LabelledData, val: ValRule) -> None:
    plan = Plan(("zero-shot", "gda", "tip-adapter"), (1, 2), (1, 2), val)
    jobs, _ = jobs_of(plan, data)
    desk = Desk.open(data, ColourBackbone(), plan, Run(), jobs=jobs)
    for job in jobs:
        drawn = desk.drawn(job, replace(Run(), seed=job.seed)) if job.shots else None
        held = desk.held.of(job.seed or 1)
        assert held is not None
        less, seen = apart(job.method, desk.evidence(job, drawn), held)
        for part in (less.train, less.val):
            assert part is None or not keys_of(part.items) & keys_of(held.items), job
        assert not seen
    finished_board = board(data, ColourBackbone(), Run(), plan)
    assert all(row.held["seen"] is False for row in finished_board.rows)
    assert len({row.held["items"] for row in finished_board.rows}) == 1


def test_the_row_on_test_is_that_of_the_whole_val(data: LabelledData) -> None:
    """A second fit without the held half is measured on them, and changes nothing that the protocol reports."""
    plan = Plan(("gda",), (2,), (1,), "full")
    jobs, _ = jobs_of(plan, data)
    desk = Desk.open(data, ColourBackbone(), plan, Run(seed=1), jobs=jobs)
    run = replace(Run(), seed=1)
    drawn = desk.drawn(jobs[0], run)
    whole = desk.fit(jobs[0], desk.evidence(jobs[0], drawn), run).scores(desk.test.items, run).values
    record, outcome = desk.row(jobs[0])
    assert outcome.predicted.tolist() == whole.argmax(1).tolist()
    assert record.held["seen"] is False


def test_what_fit_has_seen_is_not_chosen_before_what_it_has_not(data: LabelledData) -> None:
    finished_board = board(data, ColourBackbone(), Run(), Plan(("zero-shot", "gda"), (2,), (1,)))
    bold = replace(
        finished_board.rows[0],
        records=tuple(replace(r, held={**r.held, "acc1": 1.0, "seen": True}) for r in finished_board.rows[0].records),
    )
    fair = [row for row in finished_board.rows[1:] if row.held]
    assert best([bold, *fair]) in fair
    assert best([bold]) is bold


def test_texts_are_counted_apart(data: LabelledData) -> None:
    finished_board = board(data, ColourBackbone(), Run(), Plan(("zero-shot", "perceptionclip"), (1,), (1,)))
    seconds = finished_board.as_dict()["rows"][-1]["seconds"]
    assert set(seconds) == {"fit", "predict", "texts"}
    assert seconds["texts"] > 0


def test_what_trains_by_steps_comes_last(data: LabelledData) -> None:
    order = [job.method.card.slug for job in jobs_of(Plan(None, (1, 4), (1,)), data)[0]]
    steps = [slug in ("coop", "mocoop", "glsim", "nola") for slug in order]
    assert steps == sorted(steps)
    assert order[0] == "zero-shot"


@pytest.fixture
def unread() -> Iterator[None]:
    inputs._read.cache_clear()
    yield
    inputs._read.cache_clear()


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("module", "user", "other"),
    [
        ("diptych.nn.cache_model", TipAdapter, ZeroShot),
        ("diptych.backbones.towers.kernels", AnomalyCLIP, ZeroShot),
        ("diptych.train.loop", CoOp, ZeroShot),
        ("diptych.data.views", TipAdapter, StringMatching),
    ],
)
def test_a_row_is_run_again_where_the_code_that_systems_share_has_changed(
    module: str, user: type, other: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, same, source = code_of(user), code_of(other), inspect.getsource
    inputs._read.cache_clear()
    monkeypatch.setattr(inspect, "getsource", lambda m: source(m) + ("\nx = 1" if m.__name__ == module else ""))
    assert code_of(user) != before
    assert code_of(other) == same, "it takes nothing from there"


@pytest.mark.usefixtures("unread")
def test_the_code_of_every_system_is_read_to_the_end() -> None:
    """Every module of the shared rooms that a system's modules hold something of is among what was read."""
    for slug in catalog.slugs():
        code_of(catalog.find(slug))
    size = inputs._read.cache_info().currsize
    loaded = {n for n in sys.modules if n.startswith("diptych.methods.") and n.count(".") == 3}
    while (
        more := {
            module
            for name in loaded
            for value in vars(sys.modules[name]).values()
            if (module := getattr(value, "__module__", None) or "").startswith(inputs.SHARED)
        }
        - loaded
    ):
        loaded |= more
    for name in loaded:
        inputs._read(name)
    assert inputs._read.cache_info().currsize == size > 100


def test_without_val_no_system_sees_it_and_settings_are_those_of_the_card(data: LabelledData) -> None:
    plan = Plan(("zero-shot", "gda", "lp-plus-plus", "caps-adapter"), (1, 4), (1, 2), "none")
    finished_board = board(data, ColourBackbone(), Run(), plan)
    assert {(r.method, r.variant) for r in finished_board.rows if r.shots} == {
        ("gda", "no val"),
        ("lp-plus-plus", "no val"),
    }
    assert finished_board.missing == {
        catalog.find("caps-adapter").card.name: "It chooses its settings on val, and its card has none that are fixed."
    }
    desk = Desk.open(data, ColourBackbone(), plan, Run(), jobs=jobs_of(plan, data)[0])
    for job in (job for job in jobs_of(plan, data)[0] if job.shots):
        drawn = desk.drawn(job, replace(Run(), seed=job.seed))
        assert desk.evidence(job, drawn).val is None
        assert desk.evidence(job, drawn).train is drawn.train
    assert (finished_board.best, finished_board.choice, finished_board.as_dict()["val"]) == (None, None, "none")
    assert all(record.images == len(data.classes) * record.shots for record in finished_board.records if record.shots)
    fixed = catalog.find("gda").card.variants["no val"]["alpha"]
    alone = board(
        data,
        ColourBackbone(),
        Run(),
        replace(plan, methods=("zero-shot", "gda"), val="coop", settings=(f"gda.alpha={fixed}",)),
    )
    for ours, theirs in zip(*([r for r in b.rows if r.method == "gda"] for b in (finished_board, alone)), strict=True):
        assert ours.metrics["acc1"] == theirs.metrics["acc1"]


def test_fixed_rows_stand_on_no_other_board(data: LabelledData) -> None:
    finished_board = board(data, ColourBackbone(), Run(), Plan(("zero-shot", "gda", "lp-plus-plus"), (1,), (1,)))
    assert {r.variant for r in finished_board.rows if r.shots} == {""}
    with pytest.raises(UsageError, match="'never' is no rule for val: choose 'coop', 'full' or 'none'"):
        Plan(("gda",), (1,), (1,), "never")  # type: ignore[arg-type]
