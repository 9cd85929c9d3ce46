"""The array files of a space: (N, D) little-endian float32, the rows of batches one after the other."""

from __future__ import annotations

import hashlib
import io
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.store.sealed import BrokenFileError

Stretch: TypeAlias = tuple[str, int, int, str]
"""Where the rows of a batch lie: array file, first row, number of rows, and SHA-256 of their bytes."""
Part: TypeAlias = tuple[Stretch, Any, Any]
"""A batch, the rows of an array that some of its rows are written to, and which rows of it: slices or (n,) int64."""
_MOST = 2**16
_CHECKED: set[tuple[int, int, int, int, int, str]] = set()
"""State of an array file, first row and checksum of the batches that this process checked last."""


class Arrays:
    """The array files of a space, of which the one that was read last stays open: the blocks of one shard follow each
    other in one file.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder, self.dim = folder, dim
        self._name, self._begin = "", 0
        self._file: BinaryIO | None = None
        self._closing: weakref.finalize[..., Any] | None = None

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the open file."""
        if self._closing is not None:
            self._closing()
        self._name, self._file, self._closing = "", None, None

    def rows(self, stretch: Stretch) -> NDArray[np.float32]:
        """Return the (n, D) rows of a batch, checked.

        Raises:
            BrokenFileError: the array is missing, cut short before their end, of another type, or holds other bytes.
        """
        array, start, count, digest = stretch
        out = np.empty((count, self.dim), dtype="<f4")
        if count:
            self._read(out, array, start, [(count, digest)])
        return out.astype(np.float32, copy=False)

    def fill(self, out: NDArray[np.float32], parts: Iterable[Part]) -> None:
        """Write rows of batches into rows of an array; a batch of a file that has not changed is checked once in a
        process.

        Args:
            out: (N, D).
            parts: each batch, which rows of ``out`` are written, and which rows of the batch they are. Whole batches
                that follow each other in a file are read at once.

        Raises:
            BrokenFileError: as ``rows``.
        """
        for run in _joined(parts, len(out)):
            (array, start, count, digest), here, there = run[0]
            if _whole(run[0], len(out)):
                batches = [(count, digest) for (_, _, count, digest), _, _ in run]
                self._read(out[here.start : run[-1][1].stop], array, start, batches, again=False)
                continue
            rows = np.empty((count, self.dim), dtype="<f4")
            self._read(rows, array, start, [(count, digest)], again=False)
            out[here] = rows[there]

    def _read(
        self,
        out: NDArray[np.float32],
        array: str,
        start: int,
        batches: Sequence[tuple[int, str]],
        *,
        again: bool = True,
    ) -> None:
        """Read the rows of batches that follow each other, and check each by its number of rows and its checksum."""
        try:
            file = self._opened(array)
            file.seek(self._begin + start * self.dim * 4)  # not a memory map: see _opened
            size = file.readinto(out.data.cast("B"))  # type: ignore[attr-defined]
        except FileNotFoundError as error:
            raise BrokenFileError("missing") from error
        except (OSError, ValueError, EOFError) as error:
            raise BrokenFileError("no array") from error
        if size != out.nbytes:
            raise BrokenFileError("cut short")
        state, at = os.fstat(file.fileno()), 0
        for count, digest in batches:
            checked = state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size, start + at, digest
            if again or checked not in _CHECKED:
                if hashlib.sha256(out[at : at + count].data).hexdigest() != digest:
                    raise BrokenFileError("checksum differs")
                if len(_CHECKED) >= _MOST:
                    _CHECKED.clear()
                _CHECKED.add(checked)
            at += count

    def _opened(self, name: str) -> BinaryIO:
        """Return the open file; not a memory map, so that of a file cut short the first blocks still read."""
        if self._file is not None and self._name == name:
            return self._file
        self.close()
        file = open(os.path.join(self._folder, name), "rb")  # noqa: SIM115
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise BrokenFileError("another array format")
            length = file.read(2)
            shape, fortran, dtype = _header(length + file.read(int.from_bytes(length, "little")))
            if len(shape) != 2 or shape[1] != self.dim or fortran or dtype != np.dtype("<f4"):
                raise BrokenFileError("an array of another type or width")
        except BaseException:
            file.close()
            raise
        self._name, self._file, self._begin = name, file, file.tell()
        self._closing = weakref.finalize(self, file.close)  # also where a cycle of references is collected
        return file


@lru_cache(maxsize=256)
def _header(written: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of an array; parsed once, since many files of a space have the same header."""
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(written))
    return shape, fortran, dtype


def _whole(part: Part, rows: int) -> bool:
    """Return whether all rows of a batch are written to as many rows that follow each other."""
    (_, _, count, _), here, there = part
    if not (isinstance(here, slice) and isinstance(there, slice)) or (there.start, there.stop) != (0, count):
        return False
    first, stop = int(here.start), int(here.stop)
    return first >= 0 and first + count == stop <= rows


def _joined(parts: Iterable[Part], rows: int) -> Iterator[list[Part]]:
    """Yield whole batches that follow each other in a file and in the array together, and each other one alone."""
    run = list[Part]()
    for part in parts:
        (array, start, _, _), here, _ = part
        whole = _whole(part, rows)
        if run:
            (last, begin, count, _), there, _ = run[-1]
            if not whole or (array, start, here.start) != (last, begin + count, there.stop):
                yield run
                run = []
        if whole:
            run.append(part)
        else:
            yield [part]
    if run:
        yield run
