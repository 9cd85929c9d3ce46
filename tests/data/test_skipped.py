from __future__ import annotations

import csv
from pathlib import Path

from diptych.data.skipped import add_skipped, join_skipped

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
