"""Trainings of one board at equal steps and at equal seconds, from the same start, measured alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import diptych
from diptych.core import Run, Trained, UsageError
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.tables import scene_classes, scene_data
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards import tune
from diptych.evaluation.boards.choice import in_lengths
from diptych.evaluation.boards.tune import BEFORE, SECONDS, STEPS, TuneBench, equal_lengths
from diptych.evaluation.boards.verb import verb_board
from diptych.train.schedule import Fit, Schedule

FIT = Fit(lr=1e-4, batch=4, epochs=1, schedule=Schedule(warmup=20))
CLIP = Arm("clip-loss")


@pytest.fixture(scope="module")
def bench() -> TuneBench:
    fit, lengths = equal_lengths(FIT, 2, 0.4)
    base = in_lengths([CLIP], lengths)
    return TuneBench(
        scene_data(SceneRecipe(objects=(1, 2)), {"train": 16, "test": 8}), diptych.load("tiny"), fit, Run(workers=1),
        (1, 2), parts="all", elsewhere=[scene_classes(SceneRecipe(), "ones", 6, seed=1)],
        lengths=lengths, always=(*base, BEFORE),
    )  # fmt: skip


def test_lengths_replace_that_of_the_fit() -> None:
    fit, lengths = equal_lengths(FIT, 30, 2.5)
    assert list(lengths) == ["30 steps", "2.5 s"]
    assert fit == lengths["30 steps"] == replace(FIT, epochs=None, steps=30, schedule=Schedule(warmup=3))
    assert (lengths["2.5 s"].seconds, lengths["2.5 s"].steps) == (2.5, None)
    assert equal_lengths(FIT, None, None) == (FIT, {})
    assert equal_lengths(FIT, None, 2.0)[0].schedule.warmup == 20
    assert in_lengths([CLIP, BEFORE], ["a", "b"])[1:3] == [replace(BEFORE, length="a"), replace(CLIP, length="b")]


def test_a_board_has_rows_of_both_lengths_with_intervals_of_every_part(bench: TuneBench) -> None:
    board = verb_board("pretrain", bench, in_lengths([CLIP, Arm("cloob")], bench.lengths))
    rows = {row.label: row for row in board.rows}
    steps, seconds = "2 steps", "0.4 s"
    assert set(rows) == {"before", *(f"{m}, {n}" for m in ("clip-loss", "cloob") for n in (steps, seconds))}
    assert rows[f"cloob, {steps}"].others[STEPS] == 2
    assert rows[f"cloob, {seconds}"].others[SECONDS] >= 0.4
    data = board.as_dict()
    assert (data["base"], list(data["lengths"])) == ("clip-loss", [steps, seconds])
    made = next(r for r in data["rows"] if r["method"] == "cloob" and r["length"] == steps)
    for part in ("region_accuracy", "crop_accuracy", "dense_probe_miou", "acc1 on ones", "effective_rank"):
        score = made["parts"][part]
        assert score["ci95"][0] <= score["value"] <= score["ci95"][1]
        assert 0 < score["gain"]["p"] <= 1
    assert "recall_at_1" not in made["parts"], "it is the metric of the row"
    assert data["regions"]["resampled"] == "pictures"
    assert made["region_accuracy"] == pytest.approx(made["parts"]["region_accuracy"]["value"])
    assert made["gain"]["p"] <= 1
    base = rows[f"clip-loss, {steps}"]
    assert rows[f"cloob, {steps}"].gain is not None
    assert rows[f"cloob, {steps}"].gain.value == pytest.approx(rows[f"cloob, {steps}"].value.value - base.value.value)
    assert base.gain is None


def test_a_training_of_several_stages_has_no_equal_length(bench: TuneBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_stages(*args: Any, **more: Any) -> Trained:
        return Trained(bench.space, stages=2)

    monkeypatch.setattr(tune, "train_space", two_stages)
    with pytest.raises(UsageError, match="2 stages"):
        bench.measure(replace(CLIP, length="2 steps"))
