from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.serve.pages import facets as module
from diptych.serve.pages.facets import facets
from diptych.serve.pages.state import State


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Twelve entries: four labels, two years, a file name each, and one value that no condition can hold."""
    entries = [
        Entry(f"{i}.jpg", facts={"label": "abcd"[i % 4], "year": 1990 + i % 2, "file": f"f{i}", "odd": "x;y"[i % 3]})
        for i in range(12)
    ]
    with Index.create(tmp_path / "index", {"dim": 2, "fingerprint": "x"}) as opened:
        opened.add(entries, {"image": (np.arange(12), np.ones((12, 2), np.float32))})
        yield opened


def test_values_are_counted_under_the_conditions_on_other_columns(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 5)
    found = facets(index, State(where="year=1990"))
    assert list(found) == ["label", "year"]  # "file" has too many values, "odd" one with a semicolon
    assert [(f.value, f.entries, f.chosen) for f in found["year"]] == [("1990", 6, True), ("1991", 6, False)]
    assert [(f.value, f.entries) for f in found["label"]] == [("a", 3), ("c", 3)]


def test_a_click_adds_changes_and_removes_a_condition(index: Index) -> None:
    (first, second) = facets(index, State(where="year=1990; name~*.jpg"))["year"]
    assert first.where == "name~*.jpg"
    assert second.where == "name~*.jpg; year=1991"
    assert facets(index, State(where="name~*.jpg"))["label"][0].where == "name~*.jpg; label=a"


def test_a_large_index_is_not_counted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COUNTED", 11)
    assert facets(index, State()) == {}
