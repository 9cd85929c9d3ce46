from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DamagedStore
from diptych.tasks.search.marks import FILE, PEOPLE, Mark, add_marks, read_marks, replace_marks, weights_key


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


def test_the_key_of_weights_is_that_of_their_ratio() -> None:
    assert weights_key({"text": 0.6, "image": 1.4}) == "image 0.7 text 0.3"
