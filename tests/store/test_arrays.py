from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.store import arrays
from diptych.store.arrays import Arrays
from diptych.store.sealed import BrokenFileError
from diptych.store.shards import Block, digest_of, write_array

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
COUNTS = (4, 3, 5)


def written(folder: Path, name: str = "00000001-000000") -> list[Any]:
    """Return where the rows of three batches lie, which follow each other in a file."""
    starts = np.cumsum([0, *COUNTS]).tolist()
    parts = [
        (
            Block(f"00000001-{n:06d}", tuple("ab" * 4 for _ in range(count)), {}, frozenset()),
            ROWS[start : start + count],
        )
        for n, (start, count) in enumerate(zip(starts, COUNTS, strict=False))
    ]
    return [block.stretch for block in write_array(folder, name, parts)]


def test_rows_are_written_where_they_belong_and_read_at_once_where_they_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretches, reads = written(tmp_path), list[tuple[int, int]]()
    read = Arrays._read

    def counted(self: Arrays, out: Any, array: str, start: int, batches: Any, **how: Any) -> None:
        reads.append((start, len(batches)))
        read(self, out, array, start, batches, **how)

    monkeypatch.setattr(Arrays, "_read", counted)
    with Arrays(tmp_path, 3) as opened:
        whole = [(s, slice(at, at + s[2]), slice(0, s[2])) for s, at in zip(stretches, (0, 4, 7), strict=True)]
        out = np.zeros((12, 3), dtype=np.float32)
        opened.fill(out, whole)
        assert (out == ROWS).all()
        assert reads == [(0, 3)]
        reads.clear()
        turned = [whole[0], (stretches[2], slice(4, 9), slice(0, 5)), (stretches[1], slice(9, 12), slice(0, 3))]
        opened.fill(out, turned)
        assert (out == ROWS[[0, 1, 2, 3, 7, 8, 9, 10, 11, 4, 5, 6]]).all()
        assert reads == [(0, 1), (7, 1), (4, 1)]
        few = np.zeros((5, 3), dtype=np.float32)
        opened.fill(few, [(stretches[1], np.array([4, 0]), np.array([2, 0])), (stretches[0], slice(1, 4), slice(1, 4))])
        assert (few == ROWS[[4, 1, 2, 3, 6]]).all()
        assert (opened.rows(stretches[1]) == ROWS[4:7]).all()


def test_each_batch_of_one_read_is_checked_once_for_a_state_of_the_file(tmp_path: Path) -> None:
    stretches = written(tmp_path)
    parts = [(s, slice(at, at + s[2]), slice(0, s[2])) for s, at in zip(stretches, (0, 4, 7), strict=True)]
    out, path = np.zeros((12, 3), dtype=np.float32), tmp_path / stretches[0][0]
    changed, state = bytearray(path.read_bytes()), path.stat()
    changed[-1] ^= 1
    with Arrays(tmp_path, 3) as opened:
        opened.fill(out, parts)
    path.write_bytes(changed)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # what no program does that writes a file
    with Arrays(tmp_path, 3) as opened:
        opened.fill(out, parts)
        assert digest_of(out[7:]) != stretches[2][3]
        with pytest.raises(BrokenFileError, match="checksum differs"):
            opened.rows(stretches[2])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with Arrays(tmp_path, 3) as opened, pytest.raises(BrokenFileError, match="checksum differs"):
        opened.fill(out, parts)
    with Arrays(tmp_path, 3) as opened:
        opened.fill(out[:7], parts[:2])
    assert (out[:7] == ROWS[:7]).all()


def test_files_that_are_no_array_of_this_width_are_refused(tmp_path: Path) -> None:
    (stretch, *_) = written(tmp_path)
    with Arrays(tmp_path, 4) as opened, pytest.raises(BrokenFileError, match="another type or width"):
        opened.rows(stretch)
    np.save(tmp_path / "double.npy", ROWS.astype(np.float64))
    (tmp_path / "short.npy").write_bytes((tmp_path / stretch[0]).read_bytes()[:-60])
    (tmp_path / "text.npy").write_text("no array")
    for array, why in (("double.npy", "another type"), ("text.npy", "no array"), ("absent.npy", "missing")):
        with Arrays(tmp_path, 3) as opened, pytest.raises(BrokenFileError, match=why):
            opened.rows((array, *stretch[1:]))
    with Arrays(tmp_path, 3) as opened:
        assert (opened.rows(("short.npy", *stretch[1:])) == ROWS[:4]).all()
        with pytest.raises(BrokenFileError, match="cut short"):
            opened.rows(("short.npy", 7, 5, stretch[3]))


def test_the_checked_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_MOST", 2)
    monkeypatch.setattr(arrays, "_CHECKED", set())
    with Arrays(tmp_path, 3) as opened:
        for stretch in written(tmp_path):
            opened.rows(stretch)
    assert len(arrays._CHECKED) == 1
