"""Arrays as samples, one row per item, and safe opening of NumPy files."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

MAX_BYTES = 8 * 2**30
"""Largest unpacked array of an .npz, in bytes."""


@dataclass(frozen=True)
class ArrayRows:
    """The rows of an array as samples. Of a memory-mapped array, only the requested rows are read.

    Args:
        values: (N, ...) array.
        label: name of the array for users, usually its path.
    """

    values: NDArray[Any] = field(repr=False, compare=False)
    label: str

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        return np.array(self.values[index])

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of type, shape and bytes of the row."""
        return array_key(self.values[index])

    def name(self, index: int, /) -> str:
        """Return the array's name and the row's number."""
        return f"{self.label}[{index}]"


def array_key(*values: NDArray[Any]) -> str:
    """Return the SHA-256 of type, shape and bytes of arrays."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def open_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return a memory-mapped .npy array of numbers.

    Raises:
        UsageError: no such file.
        DataError: the file is damaged, truncated, or has objects, which would run code.
    """
    _exists(path)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(values, np.ndarray) and values.ndim >= 1:
            return values
    except (ValueError, OSError, EOFError, OverflowError, SyntaxError, TypeError, KeyError, MemoryError) as error:
        raise DataError(
            f"{path} is no .npy array that can be read safely ({str(error)[:80]}): write it again with numpy.save."
        ) from None
    raise DataError(f"{path} is no array with rows: write it again with numpy.save.")


def open_npz(path: str | os.PathLike[str], name: str) -> NDArray[Any]:
    """Return one array of numbers of an .npz file.

    Raises:
        UsageError: no such file.
        DataError: the file has no array of this name, is damaged, is larger than 8 GiB unpacked, or has objects, which
            would run code.
    """
    _exists(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                names = ", ".join(n.removesuffix(".npy") for n in archive.namelist()[:20])
                raise DataError(f"{path} has no array {name!r}, only {names}: choose one of these.")
            size = archive.getinfo(f"{name}.npy").file_size
            if size > MAX_BYTES:
                raise DataError(
                    f"{path} holds {size:,} bytes in {name!r}, more than the limit of {MAX_BYTES:,}: is it the right "
                    f"file?"
                )
            with archive.open(f"{name}.npy") as file:
                _check_header(file, size, path)
        with np.load(path, allow_pickle=False) as arrays:
            values: NDArray[Any] = arrays[name]
            if values.ndim >= 1:
                return values
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        EOFError,
        NotImplementedError,
        SyntaxError,
        TypeError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise DataError(
            f"{path} is no .npz file that can be read safely ({str(error)[:80]}): write it again with numpy.savez."
        ) from None
    raise DataError(f"{path} holds a single number in {name!r}, not an array with rows.")


def _check_header(file: Any, size: int, path: str | os.PathLike[str]) -> None:
    """Raise where a header declares more bytes than the archive has, before NumPy allocates them."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects, which would run code, and is not loaded: write plain arrays.")
    if dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object)) > size:
        raise DataError(f"{path} is damaged: an array's header promises more than the file holds.")


def _exists(path: str | os.PathLike[str]) -> None:
    if not Path(path).is_file():
        raise UsageError(f"There is no file {path}: check the spelling.")
