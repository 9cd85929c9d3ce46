from __future__ import annotations

import errno
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from diptych.core import DataError, DiptychError
from diptych.data import sorted_runs
from diptych.data.sorted_runs import Layout, Rows, RunWriter, SortedRuns, facts_of, read_runs

LAYOUT = Layout({"key": ("u8", 0), "id": ("u8", 0), "v": ("f2", 3)}, ("key", "id"))


def drawn(count: int = 1500, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, count, dtype=np.uint64)
    keys[::5] = keys[rng.integers(0, count, len(keys[::5]))]
    return {"key": keys, "id": rng.permutation(count).astype(np.uint64), "v": rng.normal(size=(count, 3)).astype("f2")}


def runs(rows: Rows, layout: Layout = LAYOUT, step: int = 70) -> SortedRuns:
    writer = RunWriter(layout)
    for start in range(0, len(rows["key"]), step):
        writer.add({name: column[start : start + step] for name, column in rows.items()})
    return writer.finished()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_runs, "BYTES", 4096)


def expected(rows: Rows) -> dict[int, tuple[int, list[float]]]:
    """Key -> least id and its value, by a loop."""
    least: dict[int, tuple[int, list[float]]] = {}
    for key, number, v in zip(*(rows[name].tolist() for name in ("key", "id", "v")), strict=True):
        if key not in least or number < least[key][0]:
            least[key] = number, v
    return least


@pytest.mark.usefixtures("small")
def test_of_each_key_the_first_row_stays_in_order_of_keys_on_disk_as_in_memory(tmp_path: Path) -> None:
    rows = drawn()
    found = runs(rows)
    assert len(found.batches) > 5
    found.write(tmp_path / "runs", {"who": "me"})
    again = read_runs(tmp_path / "runs", LAYOUT)
    assert facts_of(tmp_path / "runs") == {"who": "me"}
    least = expected(rows)
    for each in (found, again, again + found, pickle.loads(pickle.dumps(found)), pickle.loads(pickle.dumps(again))):
        whole = each.whole()
        assert whole["key"].tolist() == sorted(least)
        assert list(zip(whole["id"].tolist(), whole["v"].tolist(), strict=True)) == [least[k] for k in sorted(least)]
        parts = list(each.merged())
        assert len(parts) > 5
        assert np.concatenate([part["id"] for part in parts]).tolist() == whole["id"].tolist()
        assert each.distinct() == len(least)
    assert len(again) == len(least)
    middle = sorted(least)[70]
    assert again.between(middle, middle + 1)["id"].tolist() == [least[middle][0]]
    assert len(again.between(0, 2**64, ("key", "id"))["key"]) == len(least)


@pytest.mark.usefixtures("small")
def test_keys_are_looked_up_and_what_is_not_there_is_missing() -> None:
    rows = drawn()
    found = RunWriter(LAYOUT)
    found.add(rows)
    held, least = found.finished(), expected(rows)
    asked = np.append(rows["key"][::3], np.arange(5, dtype=np.uint64))
    merged = runs(held.whole())
    assert merged.values("id", asked, 2**63).tolist() == [least.get(int(k), (2**63, 0))[0] for k in asked.tolist()]
    assert SortedRuns(LAYOUT).values("id", asked, 1).tolist() == [1] * len(asked)


@pytest.mark.usefixtures("small")
def test_rows_of_the_same_key_may_all_stay() -> None:
    layout = Layout({"key": ("u8", 0), "id": ("u8", 0)}, ("key", "id"), unique=False)
    rows = {"key": np.arange(2000, dtype=np.uint64) % 3, "id": np.arange(2000, dtype=np.uint64)[::-1]}
    found = runs(rows, layout)
    assert len(found.batches) > 3
    assert found.between(1, 2)["id"].tolist() == list(range(0, 2000, 3))


@pytest.mark.usefixtures("small")
def test_rows_are_looked_up_while_more_are_added_and_all_rows_of_a_key_are_found() -> None:
    layout = Layout({"key": ("u8", 0), "id": ("u8", 0)}, ("key", "id"), unique=False)
    rng = np.random.default_rng(0)
    keys, writer = rng.integers(0, 2**64, 300, dtype=np.uint64)[rng.integers(0, 300, 2000)], RunWriter(layout)
    for start in range(0, 2000, 30):
        stop = min(start + 30, 2000)
        writer.add({"key": keys[start:stop], "id": np.arange(start, stop, dtype=np.uint64)})
        held, asked = writer.finished(), np.append(keys[:50], np.uint64(7))
        pairs = [pair for at, rows in held.lookup(asked) for pair in zip(at.tolist(), rows["id"].tolist(), strict=True)]
        assert sorted(pairs) == [(i, j) for i, key in enumerate(asked) for j in range(stop) if keys[j] == key]
    assert len(held) == 2000
    assert sum(batch.file is not None for batch in held.batches) > 5
    assert sum(batch.file is None for batch in held.batches) < 9, "rows in memory are merged as they come"


def test_few_rows_stay_in_memory_and_no_rows_are_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_runs, "_Folder", None)
    assert runs(drawn(500)).distinct() == len(expected(drawn(500)))
    none = runs(drawn(0))
    none.write(tmp_path / "none", {})
    for each in (none, read_runs(tmp_path / "none", LAYOUT)):
        assert (len(each), each.distinct(), each.whole()["v"].shape) == (0, 0, (0, 3))


@pytest.mark.usefixtures("small")
def test_files_are_gone_with_the_rows_and_a_full_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = runs(drawn())
    assert list(tmp_path.glob("diptych-runs-*/*.arrow"))
    del found
    assert not list(tmp_path.iterdir())

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sorted_runs, "_write", full)
    with pytest.raises(DiptychError, match=r"has no room for the rows of a plan \(No space left on device\)"):
        runs(drawn())


@pytest.mark.usefixtures("small")
def test_runs_may_be_more_than_the_files_that_a_process_may_open() -> None:
    resource = pytest.importorskip("resource")
    found = runs(drawn(5000))
    assert len(found.batches) > 20
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]  # numbers that earlier tests left free come first
    for number in free:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, limits[1]))
    try:
        assert found.distinct() == len(expected(drawn(5000)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_another_file_at_its_place_is_an_error(tmp_path: Path) -> None:
    runs(drawn(50)).write(tmp_path / "runs", {})
    held = read_runs(tmp_path / "runs", LAYOUT)
    runs(drawn(60)).write(tmp_path / "runs", {})
    with pytest.raises(DataError, match="another file took its place"):
        held.whole()
    (tmp_path / "runs").unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        held.whole()
    with pytest.raises(OSError):
        read_runs(tmp_path / "runs", LAYOUT)
    (tmp_path / "runs").write_bytes(b"no Arrow file")
    with pytest.raises((ValueError, pa.ArrowException)):
        read_runs(tmp_path / "runs", LAYOUT)
    runs({"key": np.arange(3, dtype=np.uint64)}, Layout({"key": ("u8", 0)}, ("key",))).write(tmp_path / "other", {})
    with pytest.raises(ValueError, match="other columns"):
        read_runs(tmp_path / "other", LAYOUT)


def test_memory_does_not_grow_with_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million keys, of which a table is 16 MB, through plans of parts, merging and lookups; what Arrow maps is let
    go, and ``benchmarks.keys`` measures the whole process.
    """
    monkeypatch.setattr(sorted_runs, "BYTES", 2**19)
    layout, keys, chunk = Layout({"hash": ("u8", 0), "id": ("u8", 0)}, ("hash", "id")), 1_000_000, 10_000

    def some(start: int) -> Rows:  # every tenth hash is that of another key
        numbers = np.arange(start, start + chunk, dtype=np.uint64)
        return {"hash": (numbers % np.uint64(900_000)) * np.uint64(0x9E3779B97F4A7C15), "id": numbers}

    def peak(count: int) -> int:
        tracemalloc.start()
        parts = []
        for number in range(4):
            writer = RunWriter(layout)
            for start in range(number * count // 4, (number + 1) * count // 4, chunk):
                writer.add(some(start))
            writer.finished().write(tmp_path / f"part{number}", {})
            parts.append(read_runs(tmp_path / f"part{number}", layout))
        (parts[3] + parts[0] + parts[2] + parts[1]).write(tmp_path / "plan", {})
        plan, first = read_runs(tmp_path / "plan", layout), 0
        for start in range(0, count, chunk):
            rows = some(start)
            first += int((plan.values("id", rows["hash"], 0) == rows["id"]).sum())
        assert first == len(plan) == min(count, 900_000)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    small, large = peak(200_000), peak(keys)
    assert large < 4 * 2**20 < 16 * keys / 3, f"{small} and {large} bytes"
    assert large < 1.5 * small
