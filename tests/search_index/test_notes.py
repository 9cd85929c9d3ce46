from __future__ import annotations

from pathlib import Path

import pytest

from diptych.search_index.notes import add_note, changing, read_note, write_note
from diptych.search_index.opening import create_at


@pytest.mark.parametrize("kind", ["folder", "lance"])
def test_texts_are_added_to_and_replaced(tmp_path: Path, kind: str) -> None:
    place = str(tmp_path / "index")
    if kind == "lance":
        pytest.importorskip("lance", reason="needs the extra 'lance'")
        place = f"lance:{place}"
    with create_at(place, {"dim": 4, "fingerprint": "f"}):
        pass
    assert read_note(place, "marks.jsonl") is None
    for line in ("one\n", "two é\n", "three\n"):
        with changing(place, "marks.jsonl"):
            add_note(place, "marks.jsonl", line)
    assert read_note(place, "marks.jsonl") == "one\ntwo é\nthree\n"
    write_note(place, "marks.jsonl", "four\n")
    add_note(place, "marks.jsonl", "five\n")
    assert read_note(place, "marks.jsonl") == "four\nfive\n"
    assert read_note(place, "absent.json") is None


def test_half_a_line_of_a_killed_writer_goes(tmp_path: Path) -> None:
    (tmp_path / "marks.jsonl").write_text('one\n{"hal')
    add_note(tmp_path, "marks.jsonl", "two\n")
    assert read_note(tmp_path, "marks.jsonl") == "one\ntwo\n"
