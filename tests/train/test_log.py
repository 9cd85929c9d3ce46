"""Where the records of a training go."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.core import MissingExtra, UsageError
from diptych.train.log import Log, Records


def test_a_resumed_log_goes_on_from_its_step(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1.0 / step})
    log.close()
    again = Log(tmp_path, since=2)
    assert [r["step"] for r in again.records] == [1, 2]
    again.write(3, {"loss": 0.5})
    again.close()
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [r["loss"] for r in written] == [1.0, 0.5, 0.5]


def test_another_file_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("mine\n")
    with pytest.raises(UsageError, match="no log of a training"):
        Log(tmp_path)


def test_records_go_to_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {"records": [], "done": False}

    def init(**how: Any) -> Any:
        seen["how"] = how
        return SimpleNamespace(
            log=lambda record: seen["records"].append(dict(record)),
            finish=lambda: seen.update(done=True),
            define_metric=lambda *names, **more: None,
        )

    module = SimpleNamespace(init=init, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "wandb", module)
    log = Log(tmp_path / "run", sent={"lr": 0.1})
    log.write(7, {"loss": 2.0})
    log.close()
    assert (seen["how"]["config"], seen["how"]["name"]) == ({"lr": 0.1}, "run")
    assert seen["records"] == log.records
    assert seen["done"]


def test_wandb_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"--log wandb needs wandb: run pip install '\.\[wandb\]'"):
        Log(None, sent={})


def test_a_long_log_is_in_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.train.log.importlib.util.find_spec", lambda name: None)  # TensorBoard has a queue
    log = Log(tmp_path)
    log.write(0, {"loss": 0.0})  # imports what it needs
    tracemalloc.start()
    try:
        for step in range(1, 2_001):
            log.write(step, {"loss": 1.0 / step, "norm": 2.0 / step})
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        log.close()
    assert now < 100_000, "2,000 records take some 600 kB"
    assert len(log.records) == 2_001
    assert (log.records[0]["step"], log.records[7]["step"], log.records[-2]["step"]) == (0, 7, 1_999)
    assert [r["step"] for r in log.records[-3:]] == [1_998, 1_999, 2_000]
    for index in (2_001, -2_002):
        with pytest.raises(IndexError, match="of 2001"):
            log.records[index]


def test_other_processes_read_the_records_of_the_first_one_and_write_none(tmp_path: Path) -> None:
    first, second = Log(tmp_path), Log(tmp_path, writes=False)
    first.write(1, {"loss": 1.0})
    second.write(1, {"loss": 9.0})
    assert second.records == first.records
    assert [r["loss"] for r in second.records] == [1.0]
    assert Records(tmp_path / "absent") == []
    first.close()
    second.close()


def test_a_log_in_memory_goes_back_too() -> None:
    log = Log(None)
    for step in (1, 2, 3):
        log.write(step, {})
    log.rewind(2)
    assert [r["step"] for r in log.records + Records([{"step": 7}])] == [1, 2, 7]


def test_records_of_a_later_epoch_go_where_a_training_goes_on_before_its_end() -> None:
    log = Log(None)
    for epoch, name in ((1, "loss"), (2, "val")):
        log.write(8, {"epoch": epoch, name: 0.5})
    log.rewind(8, 2)
    assert len(log.records) == 2
    log.rewind(8, 1)
    assert [r["epoch"] for r in log.records] == [1]
