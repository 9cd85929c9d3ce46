from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DamagedStore, DataError
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.absent import FILE as ABSENT
from diptych.tasks.search.marks import (
    FILE,
    PEOPLE,
    Mark,
    add_marks,
    calibrated,
    calibration,
    read_marks,
    replace_marks,
    weights_key,
)


def test_marks_of_people_count_before_others_where_they_are_enough() -> None:
    def marks(source: str, queries: int) -> list[Mark]:
        rows = [(q, i) for q in range(queries) for i in range(10)]
        return [Mark(f"q{q}", "text", "image 1", str(i), float(i), i > 4, source) for q, i in rows]

    few, many = marks(PEOPLE, 3), marks("captions", 24)
    weights = {"image": 1.0}
    assert calibrated([*few, *many], "text", weights).source == "captions"  # type: ignore[arg-type]
    assert calibrated([*marks(PEOPLE, 20), *many], "text", weights).source == PEOPLE  # type: ignore[arg-type]
    with pytest.raises(DataError, match="3 queries are marked"):
        calibrated(few, "text", weights)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"only those of text \(image 1\)"):
        calibrated(many, "image", weights)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="No answers of text queries"):
        calibrated(many, "text", {"image": 0.5, "text": 0.5})
    assert weights_key({"text": 0.6, "image": 1.4}) == "image 0.7 text 0.3"


def test_marks_are_taken_back_replaced_and_survive_a_killed_writer(tmp_path: Path) -> None:
    one = Mark("red", "text", "image 1", "a", 1.0, True)
    add_marks(tmp_path, [one, Mark("red", "text", "image 1", "b", 2.0, False)])
    add_marks(tmp_path, [Mark("red", "text", "image 1", "b", 2.0, None)])
    assert read_marks(tmp_path) == [one]
    replace_marks(tmp_path, "captions", [Mark("blue", "text", "image 1", "a", 0.5, True, "captions")])
    assert {m.source for m in read_marks(tmp_path)} == {PEOPLE, "captions"}
    replace_marks(tmp_path, "captions", [])
    assert read_marks(tmp_path) == [one]
    with (tmp_path / FILE).open("a") as file:
        file.write('{"query": "re')
    assert read_marks(tmp_path) == [one]
    with (tmp_path / FILE).open("a") as file:
        file.write("\n{}\n")
    with pytest.raises(DamagedStore, match="line 2"):
        read_marks(tmp_path)


def test_half_a_line_goes_with_the_next_mark(tmp_path: Path) -> None:
    """As a full disk leaves it: the next mark would else stand on the same line, and nothing could be read."""
    marks = [Mark("red", "text", "image 1", name, 1.0, True) for name in "ab"]
    add_marks(tmp_path, marks[:1])
    with (tmp_path / FILE).open("a") as file:
        file.write('{"query": "re')
    add_marks(tmp_path, marks[1:])
    assert read_marks(tmp_path) == marks


def indexed(folder: Path, entries: int = 60) -> Index:
    index = Index.create(folder, {"dim": 3, "fingerprint": "x", "backbone": "other"})
    vectors = np.random.default_rng(0).normal(size=(entries, 3)).astype(np.float32)
    index.add([Entry(str(i)) for i in range(entries)], {"image": (np.arange(entries), vectors)})
    return index


def marked(queries: int = 24) -> list[Mark]:
    rows = [(q, i) for q in range(queries) for i in range(10)]
    return [Mark(f"q{q}", "text", "image 1", str(i), 0.1 * i, i > 4, PEOPLE, 1 + i) for q, i in rows]


def test_marks_of_an_earlier_version_open_and_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """They kept how far a score stood out, and not the score: nothing tells from it whether a thing is there."""
    old = [{**asdict(m), "x": m.score} for m in marked()]
    lines = [json.dumps({k: v for k, v in row.items() if k not in ("score", "rank")}) + "\n" for row in old]
    with indexed(tmp_path / "index") as index:
        (index.folder / FILE).write_text("".join(lines))
        assert [m.score for m in read_marks(index.folder)] == [None] * 240
        with pytest.raises(DataError, match=r"by an earlier version, which did not keep .* --cut people"):
            calibration(index, "text", {"image": 1.0})


def test_without_words_for_absent_things_nothing_is_promised(tmp_path: Path) -> None:
    words = {"schema": 1, "entries": 60, "words": ["ant"] * 100, "ranks": [1, 2], "scores": [[0.1, None]] * 100}
    with indexed(tmp_path / "index") as index:
        add_marks(index.folder, marked())
        with pytest.raises(DataError, match="not known yet: draw some with 'diptych index --cut people"):
            calibration(index, "text", {"image": 1.0})
        (index.folder / ABSENT).write_text(json.dumps(words))
        assert calibration(index, "text", {"image": 1.0}).source == PEOPLE
        (index.folder / ABSENT).write_text(json.dumps({**words, "entries": 20}))
        with pytest.raises(DataError, match="has grown from 20 to 60 entries since"):
            calibration(index, "text", {"image": 1.0})
        for damaged in ({**words, "ranks": []}, {**words, "scores": [[1, 2, 3]]}, {**words, "schema": 2}, [1]):
            (index.folder / ABSENT).write_text(json.dumps(damaged))
            with pytest.raises(DamagedStore, match=r"absent\.json is damaged: remove it, and mark answers again"):
                calibration(index, "text", {"image": 1.0})


def test_marks_of_pictures_need_no_words(tmp_path: Path) -> None:
    with indexed(tmp_path / "index") as index:
        add_marks(index.folder, [replace(m, kind="image") for m in marked()])
        assert calibration(index, "image", {"image": 1.0}).marks.cut(0.8).absent is None
