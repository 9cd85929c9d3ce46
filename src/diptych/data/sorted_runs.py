"""Rows with a 64-bit key on disk, in sorted runs: added, merged by key and looked up in bounded memory.

A run is an Arrow file whose batches are sorted. It is read through a memory map whose pages are let go after each use,
so that what is in memory does not grow with the number of rows. Few rows stay in memory and never see the disk.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, DiptychError
from diptych.data.files import write_whole

BYTES = 8 * 2**20
"""Bytes of rows that are sorted at a time: of a run while it is filled, and of a part while runs are merged. Sorting
them takes about three times as much.
"""
Rows: TypeAlias = dict[str, NDArray[Any]]
Keys: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True)
class Layout:
    """The columns of rows.

    Args:
        columns: name -> NumPy type and number of values of a cell; 0: a cell is a number.
        by: columns that rows are sorted by. The first one is the key, uint64: merging assumes that keys are hashes,
            which are spread evenly.
        unique: of rows with the same key the first one stays.
    """

    columns: Mapping[str, tuple[str, int]]
    by: tuple[str, ...]
    unique: bool = True

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return sum(np.dtype(kind).itemsize * max(1, count) for kind, count in self.columns.values())

    def only(self, names: Sequence[str] | None) -> Layout:
        """Return the layout of some columns, those of ``by`` among them; None: all."""
        return self if names is None else replace(self, columns={name: self.columns[name] for name in names})

    def empty(self) -> Rows:
        """Return no rows."""
        return {n: np.zeros((0, count) if count else 0, kind) for n, (kind, count) in self.columns.items()}

    def sorted(self, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts, each in any order, sorted."""

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([part[name] for part in parts]) if len(parts) > 1 else parts[0][name]

        keys = column(self.by[0])
        order = np.argsort(keys, kind="stable")  # of sorted parts, five times as fast as the default
        keys = keys[order]
        again = np.append(False, keys[1:] == keys[:-1])[: len(keys)]
        tied = np.flatnonzero(again | np.append(again[1:], False)[: len(keys)])
        some = order[tied]  # few: a sort by all columns takes four times as long
        order[tied] = some[np.lexsort([column(name)[some] for name in reversed(self.by)])]
        if self.unique:
            order = order[~again]
        return {name: column(name)[order] for name in self.columns}  # one column at a time, which takes less memory


class _Folder:
    """A folder for runs that is gone with the last object that refers to it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="diptych-runs-"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a fork lets go of its copy, and the files are still its parent's
        shutil.rmtree(folder, ignore_errors=True)


class _File:
    """An Arrow file of sorted batches.

    Args:
        path: the file.
        stamp: of the file that the batches were listed of; None: the one that is there.
        folder: of this process alone; None: the file stays.
    """

    def __init__(self, path: Path, stamp: tuple[int, int, int] | None = None, folder: _Folder | None = None) -> None:
        self.path, self.stamp, self.folder = path, stamp or _stamp(path), folder

    @contextmanager
    def opened(self) -> Iterator[mmap.mmap]:
        """Give the bytes, whose pages are let go after the block; raises OSError or ValueError where others are there
        now.
        """
        if _stamp(self.path) != self.stamp:
            raise ValueError("another file took its place")
        with self.path.open("rb") as file:  # for each look: a map that stays would keep its file open
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield content
        finally:
            if hasattr(mmap, "MADV_DONTNEED"):
                content.madvise(mmap.MADV_DONTNEED)

    def __reduce__(self) -> tuple[Any, ...]:
        return _File, (self.path, self.stamp)


@dataclass(frozen=True)
class _Batch:
    """Sorted rows in a file, or in memory where there is no file.

    Args:
        first: least key.
        last: greatest key.
        count: rows.
        rows: in memory.
        file: where they lie.
        columns: of the file, name -> NumPy type, number of values of a cell (0: a number), and first byte.
    """

    first: int
    last: int
    count: int
    rows: Rows | None = None
    file: _File | None = None
    columns: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)

    @contextmanager
    def opened(self, layout: Layout) -> Iterator[Rows]:
        """Give the rows; those of a file are valid inside the block alone."""
        if self.rows is not None or self.file is None:
            yield self.rows or layout.empty()
            return
        try:
            with self.file.opened() as content:
                yield {name: self._column(content, name) for name in layout.columns}
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file.path} cannot be read any more ({str(error)[:80]}): plan again.") from None

    def _column(self, content: mmap.mmap, name: str) -> NDArray[Any]:
        kind, width, start = self.columns[name]
        values = np.frombuffer(content, kind, self.count * max(1, width), start)
        return values.reshape(-1, width) if width else values

    def __reduce__(self) -> tuple[Any, ...]:
        """A file of this process alone travels as its rows."""
        if self.file is None or self.file.folder is None:
            return _Batch, (self.first, self.last, self.count, self.rows, self.file, self.columns)
        with self.file.opened() as content:
            rows = {name: self._column(content, name).copy() for name in self.columns}
        return _Batch, (self.first, self.last, self.count, rows)


@dataclass(frozen=True)
class SortedRuns:
    """Rows in sorted runs.

    Args:
        layout: of the rows.
        batches: in any order; what ``RunWriter`` and ``read_runs`` made.
    """

    layout: Layout
    batches: tuple[_Batch, ...] = ()

    def __len__(self) -> int:
        """Number of rows; a key that several runs hold counts in each."""
        return sum(batch.count for batch in self.batches)

    def __add__(self, other: SortedRuns) -> SortedRuns:
        return SortedRuns(self.layout, (*self.batches, *other.batches))

    def between(self, low: int, high: int, names: Sequence[str] | None = None) -> Rows:
        """Return the sorted rows of all runs with low <= key < high, in memory.

        Args:
            low: in [0, 2**64].
            high: in [0, 2**64].
            names: columns that are read, those of ``by`` among them; None: all.
        """
        layout = self.layout.only(names)
        key, parts = layout.by[0], [layout.empty()]
        for batch in self.batches:
            if batch.first < high and batch.last >= low:
                with batch.opened(layout) as rows:
                    start = int(np.searchsorted(rows[key], np.uint64(low)))
                    stop = batch.count if high > batch.last else int(np.searchsorted(rows[key], np.uint64(high)))
                    parts.append({name: np.array(rows[name][start:stop]) for name in layout.columns})
        return parts[-1] if len(parts) < 3 else layout.sorted(parts)

    def merged(self, names: Sequence[str] | None = None) -> Iterator[Rows]:
        """Yield all rows in ascending order of keys, about ``BYTES`` of them at a time; names as in ``between``."""
        steps = max(1, -(-len(self) * self.layout.only(names).width // BYTES))
        for low, high in pairwise(2**64 * step // steps for step in range(steps + 1)):
            rows = self.between(low, high, names)
            if len(rows[self.layout.by[0]]):
                yield rows
            del rows  # before the next ones are read

    def distinct(self) -> int:
        """Return the number of rows after merging."""
        return sum(len(rows[self.layout.by[0]]) for rows in self.merged(self.layout.by))

    def whole(self) -> Rows:
        """Return all rows, sorted, in memory."""
        return self.between(0, 2**64)

    def lookup(self, keys: Keys) -> Iterator[tuple[NDArray[np.intp], Rows]]:
        """Yield, of each batch that holds some of N keys, (n,) positions among the keys and their n rows; where keys
        are not unique, all rows of a key.
        """
        order = np.argsort(keys)
        ordered = keys[order]
        for batch in self.batches:
            start = int(np.searchsorted(ordered, np.uint64(batch.first)))
            stop = int(np.searchsorted(ordered, np.uint64(batch.last), side="right"))
            if start == stop:
                continue
            with batch.opened(self.layout) as rows:
                held = rows[self.layout.by[0]]
                places = np.searchsorted(held, ordered[start:stop])
                hit = np.flatnonzero(held[places] == ordered[start:stop])
                places = places[hit]
                if not self.layout.unique:
                    counts = np.searchsorted(held, ordered[start:stop][hit], side="right") - places
                    hit, places = np.repeat(hit, counts), np.repeat(places, counts) + _steps(counts)
                taken = {name: column[places] for name, column in rows.items()}
            yield order[start:stop][hit], taken

    def values(self, name: str, keys: Keys, missing: Any) -> NDArray[Any]:
        """Return a column of N keys, (N,); ``missing`` where a key is not there."""
        out = np.full(len(keys), missing, dtype=self.layout.columns[name][0])
        for places, rows in self.lookup(keys):
            out[places] = rows[name]
        return out

    def write(self, path: Path, facts: Mapping[str, str]) -> None:
        """Write one Arrow file, merged, with facts in the metadata of its schema."""

        def fill(draft: Path) -> None:
            _write(draft, self.layout, self.merged(), facts)

        write_whole(path, fill, overwrite=True)


class RunWriter:
    """Takes rows in any order and number; what it took can be looked up meanwhile.

    Args:
        layout: of the rows.
        limit: bytes of rows in memory; None: ``BYTES``.

    Example:
        >>> writer = RunWriter(Layout({"key": ("u8", 0), "row": ("i4", 0)}, ("key", "row")))
        >>> writer.add({"key": np.array([7, 3, 7], np.uint64), "row": np.array([5, 6, 4], np.int32)})
        >>> rows = writer.finished().whole()
        >>> rows["key"].tolist(), rows["row"].tolist()
        ([3, 7], [6, 4])
    """

    def __init__(self, layout: Layout, limit: int | None = None) -> None:
        self._layout, self._limit = layout, limit or BYTES
        self._waiting: list[Rows] = []
        self._sorted: list[Rows] = []
        self._bytes = 0
        self._batches: list[_Batch] = []
        self._folder: _Folder | None = None

    def add(self, rows: Rows) -> None:
        """Add rows; where many wait, they become a run on disk.

        Raises:
            DiptychError: the folder for temporary files has no room.
        """
        key = self._layout.by[0]
        step = max(1, self._limit // self._layout.width)
        for start in range(0, len(rows[key]), step):
            part = {name: rows[name][start : start + step] for name in self._layout.columns}
            self._waiting.append(part)
            self._bytes += len(part[key]) * self._layout.width
            if self._bytes >= self._limit:
                self._spill()

    def finished(self) -> SortedRuns:
        """Return what was added so far; what still waits stays in memory."""
        key, parts = self._layout.by[0], self._sorted
        if self._waiting:
            parts.append(self._layout.sorted(self._waiting))
            self._waiting = []
        while len(parts) > 1 and len(parts[-2][key]) < 2 * len(parts[-1][key]):  # so each row is merged a few times
            parts.append(self._layout.sorted([parts.pop(), parts.pop()]))
        few = [_Batch(int(part[key][0]), int(part[key][-1]), len(part[key]), part) for part in parts if len(part[key])]
        return SortedRuns(self._layout, (*self._batches, *few))

    def _spill(self) -> None:
        self._folder = self._folder or _Folder()
        path = self._folder.path / f"{len(self._batches):06d}.arrow"
        rows = self._layout.sorted([*self._sorted, *self._waiting])
        self._sorted, self._waiting, self._bytes = [], [], 0
        try:
            _write(path, self._layout, [rows], {})
        except OSError as error:
            raise DiptychError(
                f"{path.parent} has no room for the rows of a plan ({error.strerror or error}): free space there, or "
                f"name a larger folder in TMPDIR."
            ) from None
        self._batches += _batches(path, self._layout, self._folder)


def read_runs(path: Path, layout: Layout) -> SortedRuns:
    """Open a file that ``SortedRuns.write`` wrote; its rows stay on disk.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: it is absent, damaged, or has other columns.
    """
    return SortedRuns(layout, tuple(_batches(path.absolute(), layout, None)))


def facts_of(path: Path) -> dict[str, str]:
    """Return the facts of a file that ``SortedRuns.write`` wrote; raises as ``read_runs``."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        metadata = pa.ipc.open_file(source).schema.metadata or {}
    return {name.decode(): value.decode() for name, value in metadata.items()}


def _schema(layout: Layout, facts: Mapping[str, str]) -> Any:
    import pyarrow as pa

    kinds = {name: pa.from_numpy_dtype(np.dtype(kind)) for name, (kind, _) in layout.columns.items()}
    fields = [pa.field(name, pa.list_(kinds[name], n) if n else kinds[name]) for name, (_, n) in layout.columns.items()]
    return pa.schema(fields, metadata=dict(facts))


def _write(path: Path, layout: Layout, parts: Iterator[Rows] | Sequence[Rows], facts: Mapping[str, str]) -> None:
    import pyarrow as pa

    schema = _schema(layout, facts)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for rows in parts:
            writer.write_batch(
                pa.record_batch([_array(rows[n], count) for n, (_, count) in layout.columns.items()], schema=schema)
            )
            del rows  # before the next ones are made


def _array(values: NDArray[Any], count: int) -> Any:
    """Return a column as Arrow takes it, without a copy."""
    import pyarrow as pa

    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, count) if count else flat


def _batches(path: Path, layout: Layout, folder: _Folder | None) -> Iterator[_Batch]:
    import pyarrow as pa

    file = _File(path, folder=folder)
    with pa.memory_map(str(path)) as source:
        begin = source.read_buffer().address
        opened = pa.ipc.open_file(source)
        if not opened.schema.equals(_schema(layout, {}), check_metadata=False):
            raise ValueError("other columns")
        for number in range(opened.num_record_batches):
            batch = opened.get_batch(number)
            cells = {
                name: batch.column(name).flatten() if n else batch.column(name)
                for name, (_, n) in layout.columns.items()
            }
            columns = {
                name: (*layout.columns[name], cell.buffers()[-1].address - begin) for name, cell in cells.items()
            }
            keys = cells[layout.by[0]]
            yield _Batch(keys[0].as_py(), keys[-1].as_py(), len(keys), None, file, columns)


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _steps(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, ... of each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
