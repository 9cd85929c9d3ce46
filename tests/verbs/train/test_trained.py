from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from diptych.verbs.answer import Shown
from diptych.verbs.train.trained import Trained

TUNED: Any = SimpleNamespace(
    failed=(), folder="out", facts={"method": "lora"}, rows=lambda: [("clothes", "acc1", "0.5", "0.6", "0.1")]
)


def test_the_table_names_the_system_and_the_last_line_the_model() -> None:
    table, line = Trained(TUNED).tables()
    assert isinstance(table, Shown)
    assert table == Shown(("data set", "metric", "before", "after", "change"), TUNED.rows(), (2, 3, 4), "lora")
    assert line == "local:out"


def test_one_process_of_torchrun_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not Trained(TUNED).unseen
    monkeypatch.setenv("RANK", "1")
    assert Trained(TUNED).unseen
