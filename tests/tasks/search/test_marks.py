from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DamagedStore, DataError
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.marks import (
    FILE,
    PEOPLE,
    Mark,
    add_marks,
    calibrated,
    read_marks,
    replace_marks,
    standard,
    weights_key,
)


def filled(folder: Path, count: int) -> Index:
    index = Index.create(folder, {"dim": 3, "fingerprint": "x"})
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 3)).astype(np.float32)
    half = np.arange(0, count, 2)
    index.add(
        [Entry(str(i)) for i in range(count)], {"image": (np.arange(count), vectors), "text": (half, vectors[half])}
    )
    return index


def test_scores_are_measured_against_the_whole_index(tmp_path: Path) -> None:
    query = np.array([0.6, 0.8, 0.0], np.float32)
    with filled(tmp_path / "index", 80) as index:
        image, text = index.vectors("image") @ query, np.zeros(80)
        text[::2] = index.vectors("text") @ query
        assert standard(index, query, {"image": 1.0}, [0.9]) == pytest.approx(
            [(0.9 - image.mean()) / image.std()], rel=1e-5
        )
        both = 0.7 * image + 0.3 * text
        found = standard(index, query, {"image": 0.7, "text": 0.3}, [0.9])
        assert found == pytest.approx([(0.9 - both.mean()) / both.std()], rel=1e-5)
    with filled(tmp_path / "small", 20) as index, pytest.raises(DataError, match="20 entries, and a cut needs 50"):
        standard(index, query, {"image": 1.0}, [0.9])


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
