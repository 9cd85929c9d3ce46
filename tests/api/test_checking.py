"""check in Python reports as its task does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import diptych
from diptych.core import UsageError
from diptych.tasks.check import check as examine


def test_check_reports_as_its_task_does(colours: Path) -> None:
    (colours / "broken.png").write_bytes(b"words")
    assert diptych.check(colours) == examine(colours)
    assert diptych.check(diptych.open_data("demo:photos")).counts == {"test": 7}


def test_data_in_memory_are_checked_too() -> None:
    photos = [np.zeros((8, 8, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)]
    report = diptych.check((photos, ["cat", "dog"]))
    assert [f.kind for f in report.findings] == ["tiny-class", "missing-split"]
    assert (report.ok, report.counts) == (True, {"test": 2})


def test_a_report_prints_as_a_list() -> None:
    report = diptych.check((np.zeros((8, 40, 40, 3), np.uint8), ["cat"] * 8))
    lines = repr(report).splitlines()
    assert lines[0] == "data: 1 class; 8 test"
    assert lines[1] == "error: There is one class, 'cat': everything would be right. " + report.findings[0].remedy


def test_what_cannot_be_checked_is_said() -> None:
    with pytest.raises(UsageError, match="workers= must be at least 1"):
        diptych.check("demo:photos", workers=0)
    with pytest.raises(UsageError):
        diptych.check("no-such-folder")
