"""Shards of the embedding store: blocks of vectors that NumPy alone opens, listed in JSON that carries its own
checksum.

A shard is two files: ``<shard>.json`` lists its blocks (one block is one finished batch), and the ``.npy`` that it
names holds their rows one after the other, (N, D) little-endian float32. The JSON appears last and whole, so a shard is
there or it is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import write_whole
from diptych.store.sealed import BrokenFileError, Damage, seal, unseal

_SHARD = re.compile(r"([0-9]{8}-[0-9]{6}|merged-[0-9a-f]{16})\.json")
_MOST = 2**16
_CHECKED: set[tuple[int, int, int, int, int, str]] = set()
"""State of an array file, first row and checksum of the batches that this process checked last."""
_ARRAY, _BATCH = re.compile(r"[0-9a-z-]{1,64}\.npy"), re.compile(r"[0-9]{8}-[0-9]{6}")


@dataclass(frozen=True)
class Block:
    """One finished batch inside a shard.

    Args:
        batch: name of the planned batch.
        keys: content keys of the rows, in order.
        failed: key -> reason, for members that could not be read; they have no row.
        yields: keys that another batch had answered before this one was finished; their rows here are never served.
        array: name of the array file.
        start: first row in it.
        digest: SHA-256 of the rows' bytes.
        shard: name of the JSON that lists the block: the batch's own, or "merged-" and a hash.
    """

    batch: str
    keys: tuple[str, ...]
    failed: Mapping[str, str]
    yields: frozenset[str]
    array: str = ""
    start: int = 0
    digest: str = ""
    shard: str = ""

    @property
    def merged(self) -> bool:
        """Whether the block shares its shard with others."""
        return self.shard.startswith("merged-")


def digest_of(rows: NDArray[np.float32]) -> str:
    """Return the SHA-256 of the bytes of (n, D) rows."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<f4").tobytes()).hexdigest()


def write_array(folder: Path, name: str, parts: Sequence[tuple[Block, NDArray[np.float32]]]) -> list[Block]:
    """Write the rows of blocks to an array file called after ``name`` and its content; return the blocks that say
    so.
    """
    digests = [digest_of(rows) for _, rows in parts]
    array = f"{name}-{hashlib.sha256('/'.join(digests).encode()).hexdigest()[:16]}.npy"
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([rows for _, rows in parts]).astype("<f4", copy=False), allow_pickle=False)
    write_whole(folder / array, buffer.getvalue(), overwrite=True, sync=False)
    starts = np.cumsum([0, *(len(rows) for _, rows in parts)]).tolist()
    return [replace(b, array=array, start=s, digest=d) for (b, _), s, d in zip(parts, starts, digests, strict=False)]


def list_blocks(blocks: Sequence[Block]) -> bytes:
    """Return the JSON of a shard."""
    fields = ("batch", "keys", "array", "start", "digest")
    return seal(
        [{f: getattr(b, f) for f in fields} | {"failed": dict(b.failed), "yields": sorted(b.yields)} for b in blocks]
    )


def read_blocks(folder: Path, shard: str) -> list[Block]:
    """Read the JSON of a shard.

    Raises:
        BrokenFileError: it does not hold what it says.
        FileNotFoundError: another process has just merged or dropped it.
    """
    content = unseal((folder / f"{shard}.json").read_bytes())
    try:
        blocks = [
            Block(
                b["batch"],
                tuple(b["keys"]),
                dict(b["failed"]),
                frozenset(b["yields"]),
                b["array"],
                int(b["start"]),
                b["digest"],
                shard,
            )
            for b in content
        ]
        if all(_BATCH.fullmatch(b.batch) and _ARRAY.fullmatch(b.array) for b in blocks):
            return blocks
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFileError("not the list of a shard") from error
    raise BrokenFileError("not the list of a shard")


def read_rows(folder: Path, block: Block, dim: int) -> NDArray[np.float32]:
    """Read the (n, D) rows of a block and check them.

    Raises:
        BrokenFileError: the array is missing, cut short before their end, of another type, or holds other bytes.
    """
    with Arrays(folder, dim) as arrays:
        return arrays.rows(block)


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

    def rows(self, block: Block) -> NDArray[np.float32]:
        """Return the rows of a block, checked, with the errors of ``read_rows``."""
        out = np.empty((len(block.keys), self.dim), dtype="<f4")
        if len(out):
            self._read(out, block.array, block.start, block.digest)
        return out.astype(np.float32, copy=False)

    def fill(self, out: NDArray[np.float32], here: Any, batch: tuple[str, int, int, str], there: Any) -> None:
        """Write rows of a batch into rows of an array; a batch of a file that has not changed is checked once in a
        process.

        Args:
            out: (N, D).
            here: rows of it.
            batch: array file, first row, number of rows, and checksum.
            there: rows of the batch.

        Raises:
            BrokenFileError: as ``read_rows``.
        """
        array, start, count, digest = batch
        whole = isinstance(there, slice) and (there.start, there.stop) == (0, count) and isinstance(here, slice)
        if whole and len(out[here]) == count and out.dtype == np.dtype("<f4"):
            self._read(out[here], array, start, digest, again=False)
            return
        rows = np.empty((count, self.dim), dtype="<f4")
        self._read(rows, array, start, digest, again=False)
        out[here] = rows[there]

    def _read(self, out: NDArray[np.float32], array: str, start: int, digest: str, *, again: bool = True) -> None:
        """Read and check contiguous rows."""
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
        state = os.fstat(file.fileno())
        checked = state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size, start, digest
        if not again and checked in _CHECKED:
            return
        if hashlib.sha256(out.data).hexdigest() != digest:
            raise BrokenFileError("checksum differs")
        if len(_CHECKED) >= _MOST:
            _CHECKED.clear()
        _CHECKED.add(checked)

    def _opened(self, name: str) -> BinaryIO:
        """Return the open file; not a memory map, so that of a file cut short the first blocks still read."""
        if self._file is not None and self._name == name:
            return self._file
        self.close()
        file = open(self._folder / name, "rb")  # noqa: SIM115
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise BrokenFileError("another array format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if len(shape) != 2 or shape[1] != self.dim or fortran or dtype != np.dtype("<f4"):
                raise BrokenFileError("an array of another type or width")
        except BaseException:
            file.close()
            raise
        self._name, self._file, self._begin = name, file, file.tell()
        self._closing = weakref.finalize(self, file.close)  # also where a cycle of references is collected
        return file


def list_shards(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return shard -> (inode, time, size) of its JSON; empty where the folder does not exist."""
    while True:
        try:
            with os.scandir(folder) as entries:
                stats = {match[1]: e.stat() for e in entries if (match := _SHARD.fullmatch(e.name))}
            return {name: (s.st_ino, s.st_mtime_ns, s.st_size) for name, s in stats.items()}
        except FileNotFoundError:  # no folder, or a shard was merged away while we looked: look again
            if not folder.is_dir():
                return {}


def remove_shards(folder: Path, blocks: Sequence[Block]) -> None:
    """Delete one-block shards, the JSON first, so that a kill in between leaves no JSON without its array."""
    for path in [folder / f"{b.shard}.json" for b in blocks] + [folder / b.array for b in blocks]:
        path.unlink(missing_ok=True)


def sweep(folder: Path, arrays: Collection[str], seconds: float) -> None:
    """Delete drafts, and array files not among ``arrays``, older than ``seconds``: what killed processes left."""
    for path in folder.iterdir():
        leftover = path.suffix == ".tmp" or (path.suffix == ".npy" and path.name not in arrays)
        with contextlib.suppress(FileNotFoundError):
            if leftover and time.time() - path.stat().st_mtime > seconds:
                path.unlink()


def other_blocks(folder: Path, block: Block) -> list[Block] | None:
    """Return the other blocks of a block's shard as it is on disk now; None where the block is no longer there, or a
    batch of its name holds other rows by now: a cache that was cleared gives names anew.
    """
    try:
        listed = read_blocks(folder, block.shard)
    except (FileNotFoundError, BrokenFileError):
        return None
    rows = (block.batch, block.array, block.start, block.digest)
    same = any((b.batch, b.array, b.start, b.digest) == rows for b in listed)
    return [b for b in listed if b.batch != block.batch] if same else None


def verify_shards(folder: Path, dim: int) -> list[Damage]:
    """Check every shard of a space, (., D) wide, and change nothing."""
    damages = []
    for name in list_shards(folder):
        try:
            blocks = read_blocks(folder, name)
        except FileNotFoundError:  # merged by another process meanwhile
            continue
        except BrokenFileError as error:
            damages.append(Damage(folder / f"{name}.json", str(error)))
            continue
        for block in blocks:
            try:
                read_rows(folder, block, dim)
            except BrokenFileError as error:
                if other_blocks(folder, block) is not None:
                    damages.append(Damage(folder / block.array, str(error), len(block.keys)))
    return damages
