"""What marks allow, and whose they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError
from diptych.search_index.index import Index
from diptych.search_index.opening import index_at
from diptych.search_index.rows import Entry
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.marks import PEOPLE, Mark, add_marks
from diptych.tasks.search.report import LEVELS, report
from tests.tasks.search.test_default_cut import facts


def marks(queries: int, answers: int, source: str) -> list[Mark]:
    return [
        Mark(f"query {q}", "text", "image 1", f"{k}.jpg", 0.6 - 0.02 * k, k < answers // 2, source, k + 1)
        for q in range(queries)
        for k in range(answers)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Index.create(tmp_path / "index", facts()) as index:
        index.add([Entry("a")], {"image": (np.arange(1), np.ones((1, 3), np.float32))})
    return tmp_path / "index"


def test_few_marks_are_counted_and_the_default_is_said_to_be_others(folder: Path) -> None:
    """40 answers that a person had marked were counted as 0 of the default's source."""
    add_marks(folder, marks(8, 5, PEOPLE))
    told = report(folder, PEOPLE)
    assert (told["source"], told["marks"], told["queries"], told["right"]) == (PEOPLE, 40, 8, 16)
    assert told["cut_by"] == "default of lite"
    assert told["why_not"] == "8 queries are marked, and a cut needs 20: mark more"
    assert set(told["cuts"]) == {f"{level:g}" for level in LEVELS}
    assert told["cuts"]["0.7"]["share"] > 0.5
    with index_at(folder) as index, pytest.raises(DataError, match=r"mark more answers \(8 queries are marked, and"):
        calibration(index, "text", {"image": 1.0}).marks.cut(0.8)


def test_enough_marks_of_one_kind_stand_behind_those_of_people(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.tasks.search.calibration._check", lambda *_: None)  # words are drawn elsewhere
    add_marks(folder, [*marks(25, 12, PEOPLE), *marks(30, 10, "label")])
    by_people, by_label = report(folder, PEOPLE), report(folder, "label")
    assert (by_people["cut_by"], by_people["why_not"], by_people["marks"]) == (PEOPLE, "", 300)
    assert (by_label["cut_by"], by_label["marks"], by_label["queries"]) == (PEOPLE, 300, 30)
    assert by_label["why_not"] == "those marked by people count before them"
