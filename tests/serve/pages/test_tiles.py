from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.metrics.cut import Cut
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry, Hit
from diptych.serve.pages import tiles as module
from diptych.serve.pages.state import State
from diptych.serve.pages.tiles import Contents, Tile, facets
from diptych.tasks.search.ask import Answer
from diptych.tasks.search.marks import CutAnswers


def test_a_tile_names_its_picture_shortly_and_leaves_empty_facts_out() -> None:
    entry = Entry("/data/photos.tar!a/b.jpg", facts={"folder": "a", "year": 1990, "by": "", "kind": "x" * 300})
    tile = Tile.of(7, entry)
    assert (tile.number, tile.name, tile.path) == (7, "b.jpg", "/data/photos.tar!a/b.jpg")
    assert (tile.text, tile.caption) == ("b.jpg", "")
    assert tile.facts.startswith("year 1990 · kind xxx")
    assert len(tile.facts) == 200
    assert Tile.of(7, Entry("b.jpg", caption="a red bus")).text == "a red bus"


def test_chosen_answers_keep_their_order_and_lose_the_cut() -> None:
    entries = [Entry(f"{i}.jpg") for i in range(4)]
    cut = CutAnswers(Cut(0.8, 0.2, 0.8, 0.7, 0.9, 9, 200, 20, 4), "people", (0.9, 0.8, 0.7, 0.6))
    answer = Answer(
        tuple(Hit(e, 0.9 - i / 10) for i, e in enumerate(entries)), (), {"image": 1.0}, (), 4, "photos", "lite",
        cut=cut,
    )  # fmt: skip
    found = Contents(tuple(Tile.of(10 + i, e) for i, e in enumerate(entries)), answer)
    chosen = found.chosen([13, 11, 99])
    assert [tile.number for tile in chosen.tiles] == [11, 13]
    assert chosen.answer is not None
    assert [row["path"] for row in chosen.answer.as_dict()["results"]] == ["1.jpg", "3.jpg"]
    assert chosen.answer.cut is None  # its shares are those of all answers
    assert Contents(found.tiles).chosen([11]).answer is None


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
