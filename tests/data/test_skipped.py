from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from diptych.data.skipped import SkippedOnce, add_skipped, join_skipped, read_skipped, report_unnamed

ROWS = [{"path": 'a "b", c.tar!x', "reason": "a\nb"}, {"path": "caf\udce9.jpg", "reason": "no such file"}]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_a_killed_process_wrote_goes(tmp_path: Path) -> None:
    path = tmp_path / "skipped.csv"
    assert add_skipped(path, [], 0) == 0
    assert not path.exists()
    end = add_skipped(path, ROWS[:1], 0)
    assert end == path.stat().st_size
    add_skipped(path, ROWS, end)
    add_skipped(path, ROWS[1:], end)
    assert rows_of(path) == [ROWS[0], {"path": r"caf\udce9.jpg", "reason": "no such file"}]


def test_lists_are_joined_and_an_old_one_goes(tmp_path: Path) -> None:
    parts = [tmp_path / f"{n}.csv" for n in range(3)]
    add_skipped(parts[0], ROWS[:1], 0)
    add_skipped(parts[2], ROWS[:1] * 2, 0)
    join_skipped(tmp_path / "all.csv", parts)
    assert rows_of(tmp_path / "all.csv") == ROWS[:1] * 3
    join_skipped(tmp_path / "all.csv", parts[1:2])
    assert not (tmp_path / "all.csv").exists()


def test_an_item_that_is_met_again_is_listed_once(tmp_path: Path) -> None:
    path = tmp_path / "skipped.csv"
    for _ in range(2):
        listed = SkippedOnce(tmp_path)
        listed.add(ROWS)
        listed.add(ROWS[::-1])
    assert [row["reason"] for row in rows_of(path)] == [row["reason"] for row in ROWS]
    SkippedOnce(tmp_path, 1).add(ROWS)
    assert len(rows_of(tmp_path / "skipped-1.csv")) == 2
    assert read_skipped(path, 1) == ROWS[:1]
    assert read_skipped(tmp_path / "absent.csv", 1) == []
    SkippedOnce(None).add(ROWS)


def test_pictures_without_a_row_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    pictures = [str(tmp_path / "photos" / name) for name in ("a.png", "b.png", "c.png")]
    with caplog.at_level(logging.WARNING):
        report_unnamed(tmp_path, pictures, [str(tmp_path / "link" / Path(p).name) for p in pictures])
        assert not caplog.messages
        report_unnamed(tmp_path, pictures, [str(tmp_path / "photos" / "x" / ".." / "b.png")])
    assert caplog.messages == [
        f"Left out of {tmp_path}: 2 pictures that have no row in its metadata, such as a.png; give the table more "
        f"rows, or take it away to read all."
    ]
