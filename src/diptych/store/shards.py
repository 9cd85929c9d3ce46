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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import write_whole
from diptych.store.arrays import Arrays, Stretch
from diptych.store.sealed import BrokenFileError, Damage, seal, unseal

_SHARD = re.compile(r"([0-9]{8}-[0-9]{6}|merged-[0-9a-f]{16})\.json")
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

    @property
    def stretch(self) -> Stretch:
        """Where its rows lie."""
        return self.array, self.start, len(self.keys), self.digest


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
        return arrays.rows(block.stretch)


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
