"""Where the records of a training go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.core import MissingExtra, UsageError
from diptych.train.log import Log


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
    with pytest.raises(MissingExtra, match=r"--log wandb needs wandb: run pip install 'diptych\[wandb\]'"):
        Log(None, sent={})
