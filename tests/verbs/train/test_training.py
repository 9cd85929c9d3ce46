"""finetune and pretrain in Python train as the commands do, and say what a user has to change."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import diptych
from diptych.api.loading import model_of
from diptych.backbones.sources.load import load
from diptych.core import DataError, MissingHook, Run, UsageError
from diptych.data.load import open_data
from diptych.methods.finetune.full import Full
from diptych.tasks.training.fits import embeddings_alone, fit_of
from diptych.tasks.training.tune import tune
from diptych.tasks.training.tuned import Tuned
from diptych.train.schedule import Fit, Schedule
from diptych.verbs.train.finetune import Finetune
from tests.support.small_clip import training_folder
from tests.train.test_pair import COLOURS, squares

QUICK = Fit(lr=2e-3, batch=10, steps=8, schedule=Schedule(warmup=2), clip=1.0, decay=0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP, class folders with train and test, and a table of captions without splits."""
    return training_folder(tmp_path_factory.mktemp("training"), 40, 30)


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))


def test_finetune_trains_as_its_task_does(place: Path, tmp_path: Path) -> None:
    model = diptych.load(f"local:{place / 'clip'}", engine="torch", cache=False)
    before = model.fingerprint
    made = diptych.finetune(
        place / "data", tmp_path / "a", model, method="full", templates="a {} square", also=place / "data", fit=QUICK,
        seed=3, workers=0,
    )  # fmt: skip
    data, clip = open_data(place / "data"), load(f"local:{place / 'clip'}")
    task = tune(
        Full(), clip, data, QUICK, Run(seed=3, workers=0), tmp_path / "b", templates=("a {} square",), elsewhere=[data]
    )
    assert made.backbone.fingerprint == task.backbone.fingerprint != before == model.fingerprint
    assert made.after == task.after
    opened = diptych.load(f"local:{made.folder}", engine="torch", cache=False)
    photo, trained = squares(1).items[0], model_of(made.backbone)
    assert np.array_equal(opened.encode_image([photo]), trained.encode_image([photo]))
    results = diptych.classify(place / "data" / "test", list(COLOURS), made.backbone)
    assert len(results) == 10


def test_a_training_prints_as_a_table(place: Path, tmp_path: Path) -> None:
    made = Tuned(load(f"local:{place / 'clip'}"), {"d": {"acc1": 0.5}}, {"d": {"acc1": 0.75}},
                 {"method": "full", "steps": 3}, Path("t/model"))  # fmt: skip
    lines = repr(made).splitlines()
    assert lines[0] == "full, 3 steps: local:t/model"
    assert [line.split() for line in lines[1:]] == [
        ["data", "set", "metric", "before", "after", "change"],
        ["d", "acc1", "0.500", "0.750", "+0.250"],
    ]


def test_a_name_is_trained_and_a_finished_training_is_returned(place: Path, tmp_path: Path) -> None:
    train: Any = {"model": f"local:{place / 'clip'}", "method": "full", "parts": "heads", "workers": 0}
    train |= {"steps": 4, "train_batch": 10}
    one = diptych.finetune(place / "data", tmp_path / "a", **train)
    again = diptych.finetune(place / "data", tmp_path / "a", **train, resume=True)
    assert (again.after, again.facts["fingerprint"]) == (one.after, one.facts["fingerprint"])
    assert (one.facts["fit"]["lr"], one.facts["fit"]["watch_every"]) == (3e-4, 1)
    with pytest.raises(UsageError, match=r"report\.json exists: give another folder"):
        diptych.finetune(place / "data", tmp_path / "a", **train)


def test_what_needs_no_model_is_refused_before_it_is_loaded(place: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    nowhere: Any = {"data": place / "data", "model": "local:nowhere"}
    with pytest.raises(UsageError, match=r"report\.json exists: give another folder"):
        diptych.finetune(out=tmp_path, **nowhere)
    with pytest.raises(UsageError, match=r"parts= must be one of .*, got 'head'"):
        diptych.finetune(out=tmp_path / "a", parts="head", **nowhere)
    with pytest.raises(MissingHook, match="heads have no tower: give parts= all"):
        diptych.pretrain(out=tmp_path / "a", method="a-clip", parts="heads", **nowhere)
    with pytest.raises(UsageError, match="Heads learn from vectors that are computed before"):
        diptych.pretrain(place / "pairs.csv", tmp_path / "a", "local:nowhere", stream=True, parts="heads")


def test_the_loop_is_the_usual_one_and_its_arguments_change_it() -> None:
    assert Finetune(data="d").loop(Full()) == fit_of(1e-5, 64, 5, 0.0, log_every=10)
    changed = Finetune(data="d", lr=0.1, clip=0.0, betas=(0.8, 0.9), accumulate=2, patience=3, steps=40, floor=0.5)
    assert changed.loop(Full()) == fit_of(
        0.1, 64, 5, 0.0,
        steps=40, clip=None, betas=(0.8, 0.9), accumulate=2, cached=embeddings_alone(Full()), patience=3,
        schedule=Schedule(warmup=20, floor=0.5, warmup_share=0.1), log_every=10,
    )  # fmt: skip


def test_only_a_given_warm_up_takes_more_than_a_tenth_of_the_steps() -> None:
    usual, longer = (Finetune(data="d", steps=50, warmup=warmup).loop(Full()).schedule for warmup in (None, 20))
    assert (usual.warm(50), longer.warm(50)) == (5, 20)


def test_a_least_rate_is_where_the_cosine_ends() -> None:
    start, end, warmup, steps = 4e-4, 1e-6, 5, 50
    fit = Finetune(data="d", lr=start, min_lr=end, warmup=warmup, steps=steps).loop(Full())
    for step in range(warmup, steps + 1):
        cosine = end + (start - end) * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))) / 2
        assert fit.lr * fit.schedule.factor(step, steps) == pytest.approx(cosine, rel=1e-9)
    assert fit.lr * fit.schedule.factor(steps, steps) == pytest.approx(end)
    assert Finetune(data="d", min_lr=0.0).loop(Full()) == Finetune(data="d").loop(Full())
    heads = Finetune(data="d", parts="heads", min_lr=3e-5).loop(Full())
    assert heads.schedule.floor == pytest.approx(0.1), "of the usual rate of heads, 3e-4"
    assert Finetune(data="d", lr=0.0, min_lr=0.0).loop(Full()).schedule.floor == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 1e-4, "min_lr": 1e-3}, "{min_lr} 0.001 is above the learning rate 0.0001"),
        ({"min_lr": 1e-6, "floor": 0.1}, "{min_lr} and {floor} both"),
        ({"min_lr": 1e-6, "schedule": "constant"}, "there is none, so {min_lr} has no effect"),
    ],
)
def test_a_least_rate_that_cannot_be_is_refused(given: Any, message: str) -> None:
    def settings() -> Fit:
        verb = Finetune(data="d", **given)
        verb.check()
        return verb.loop(Full())

    with pytest.raises(UsageError) as error:
        settings()
    assert message in error.value.args[0]


def test_a_former_name_works_with_a_warning(place: Path, tmp_path: Path) -> None:
    with (
        pytest.warns(DeprecationWarning, match="batch= is now train_batch="),
        pytest.raises(UsageError, match="train_batch= must be at least 2, got 1"),
    ):
        diptych.finetune(place / "data", tmp_path, batch=1)  # type: ignore[call-arg]


def test_pretrain_learns_from_captions_and_divides_them(place: Path, tmp_path: Path) -> None:
    model = diptych.load(f"local:{place / 'clip'}", engine="torch", cache=False)
    with pytest.warns(UserWarning, match="4 of 40 rows, drawn by the seed, are held out"):
        trained = diptych.pretrain(
            place / "pairs.csv", tmp_path / "a", model, steps=6, train_batch=12, lr=2e-4, workers=0
        )
    assert trained.facts["fit"]["decay"] == 0.2
    assert trained.backbone.fingerprint != model.fingerprint


def test_pretrain_reads_a_table_as_a_stream(place: Path, tmp_path: Path) -> None:
    model = diptych.load(f"local:{place / 'clip'}", engine="torch", cache=False)
    trained = diptych.pretrain(
        place / "pairs.csv", tmp_path, model, stream=True, held_out=5, shuffle=8, steps=3, train_batch=8, workers=0
    )
    assert trained.facts["steps"] == 3
    with pytest.raises(UsageError, match="give data= by its path"):
        diptych.pretrain(pd.DataFrame({"path": []}), tmp_path / "b", model, stream=True)


def test_scratch_begins_with_random_weights(place: Path, tmp_path: Path) -> None:
    start = {"steps": 3, "train_batch": 12, "workers": 0, "scratch": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = diptych.pretrain(place / "pairs.csv", tmp_path / "a", "ViT-S-32-alt", **start)
    assert trained.facts["fit"]["lr"] == 5e-4
    with pytest.raises(UsageError, match=r"scratch= begins without: give model= by its name"):
        diptych.pretrain(place / "pairs.csv", tmp_path / "b", load(f"local:{place / 'clip'}"), **start)
    with pytest.raises(UsageError, match="leave out scratch=, or parts= heads"):
        diptych.pretrain(place / "pairs.csv", tmp_path / "b", "tiny", scratch=True, parts="heads")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"fit": QUICK, "lr": 0.1}, "fit= has every setting of the loop: leave out lr="),
        ({"train_batch": 1}, "train_batch= must be at least 2, got 1"),
        ({"workers": -1}, "workers= must be at least 0, got -1"),
        ({"method": "clip-loss"}, "clip-loss is no system of finetune"),
        ({"method": diptych.systems.GDA()}, "gda is a system of classify, not of finetune"),
        ({"method": Full(), "variant": "full"}, "give method= by its slug"),
        ({"parts": "ears"}, "parts= must be one of 'all', 'heads', 'image', 'text', got 'ears'"),
        ({"settings": {"ears": 2}}, "has no setting 'ears'"),
        ({"unlock": 1}, "unlock= 1 opens layers"),
        ({"crop": 2.0}, "crop= must be in \\(0, 1\\], got 2"),
        ({"recolour": True}, "No crop= is given"),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_python(
    place: Path, tmp_path: Path, more: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        diptych.finetune(place / "data", tmp_path, load(f"local:{place / 'clip'}"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": "laclip"}, "give rewrites= POOL.json"),
        ({"teacher": "tiny"}, "clip-loss does not read teacher="),
        ({"denoiser": "local:x"}, "clip-loss does not read denoiser="),
    ],
)
def test_parts_that_are_missing_or_not_read_are_named(
    place: Path, tmp_path: Path, more: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        diptych.pretrain(place / "pairs.csv", tmp_path, load(f"local:{place / 'clip'}"), **more)  # type: ignore[arg-type]


def test_data_in_memory_need_labels_or_captions(place: Path, tmp_path: Path) -> None:
    photos = [np.zeros((8, 8, 3), np.uint8)] * 12
    clip = load(f"local:{place / 'clip'}")
    with (
        pytest.warns(UserWarning, match="held out"),
        pytest.raises(DataError, match="neither labels nor captions"),
    ):
        diptych.finetune(photos, tmp_path, clip)
    with pytest.raises(UsageError, match="captions= names a column of a table on disk"):
        diptych.finetune(photos, tmp_path, clip, captions="text")
