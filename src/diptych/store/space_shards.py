"""The finished batches of one space as a process sees them: found by key, checked when read, merged."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import locked, write_whole
from diptych.store.arrays import Arrays
from diptych.store.folder import using
from diptych.store.index import Index, Ints, Stat
from diptych.store.places import Numbers, Part, Placed, Rows, read_numbers, read_places, write_numbers, write_places
from diptych.store.sealed import BrokenFileError, Damage
from diptych.store.shards import (
    Block,
    list_blocks,
    list_shards,
    other_blocks,
    read_blocks,
    read_rows,
    remove_shards,
    sweep,
    write_array,
)

_LISTED = 2**16  # keys of shards whose lists stay in memory
_STALE = 3600.0  # seconds after which a draft or an array without JSON is nobody's work in progress


class SpaceShards:
    """The shards of a space, and the lock of the space.

    Args:
        space: id of the space, whose folder exists unless the store is only read.
        dim: width D of its vectors.
        report: called once for each damaged file that is met.
        read_only: change nothing on disk.
    """

    def __init__(self, store: Path, space: str, dim: int, report: Callable[[Damage], None], *, read_only: bool) -> None:
        self.dim, self._store, self._report, self._read_only = dim, store, report, read_only
        self._lock, self._folder, self._pools = (store / space / name for name in ("lock", "shards", "pools"))
        self._index, self._arrays = Index(), Arrays(self._folder, dim)
        self._lists: dict[str, tuple[Stat, dict[str, Block]]] = {}  # of the shards that were read last
        self._listed = 0  # keys in them
        self._held = False
        self._bad: set[tuple[str, str]] = set()  # read-only: (shard, batch) that cannot be dropped on disk

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the space; what holds it may call what takes it."""
        if self._held:
            yield
            return
        with using(self._store), locked(self._lock):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def index(self) -> Index:
        """Return the index, extended by new shards; built anew where a block was dropped or a shard written again.

        Without the lock the folder is listed twice or more: a merge that is under way can hide the merged shard and its
        parts from one listing.
        """
        listings = 1 if self._held else 2
        while True:
            index, present = self._index, list_shards(self._folder)
            listings -= 1
            if index.files == present and listings <= 0:
                return index
            if any(present.get(name, stat) != stat for name, stat in index.files.items()):
                index = Index()
            self._index = index
            for name in sorted(present.keys() - index.files.keys()):
                try:
                    blocks = read_blocks(self._folder, name)
                except BrokenFileError as error:
                    self._drop_shard(name, str(error))
                    blocks = []
                except FileNotFoundError:  # merged by another process since the listing
                    break
                self._keep(name, present[name], blocks)
                index.add(name, present[name], [b for b in blocks if (name, b.batch) not in self._bad])
            else:
                if not index.forget(index.files.keys() - present.keys()):
                    self._index = Index()

    def read(self, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (N, D) values of N keys, zero where not found, and (N,) found; rows are checked by block checksums.

        The folder is listed only where the shards that are known do not answer all keys.
        """
        values, stored = np.zeros((len(keys), self.dim), dtype=np.float32), np.zeros(len(keys), dtype=bool)
        index, listed = self._index, False
        while True:
            blocks, rows = index.find(keys)
            if not listed and (blocks < 0).any():
                index, listed = self.index(), True
                blocks, rows = index.find(keys)
            lost, again = [], False
            with Arrays(self._folder, self.dim) as arrays:
                for number, part in _by_block(np.flatnonzero((blocks >= 0) & ~stored), blocks, rows):
                    block, here, there = self._block(index, number), _run(part), _run(rows[part])
                    if block is None or _taken(block.keys, there) != _taken(keys, here):
                        again, self._index = True, Index()  # another process wrote the shard since the look
                        break
                    try:
                        values[here] = arrays.rows(block.stretch)[there]
                        stored[part] = True
                    except BrokenFileError as error:
                        lost.append((block, str(error)))
            if not lost and not again:
                return values, stored
            for block, reason in lost:
                self._drop(block, reason)
            index, listed = self.index(), True

    def placed(self, source: str) -> Placed | None:
        """Return the vectors of a block of a pool; see ``store.places``."""
        return read_places(self._pools, source, self._arrays)

    def place(self, source: str, keys: Sequence[str]) -> None:
        """Write where the vectors of a block of a pool lie, unless another process has changed the shards just now."""
        if self._read_only:
            return
        parts, index = list[Part](), self._index
        blocks, rows = index.find(keys)
        for number, part in _by_block(np.arange(len(keys)), blocks, rows):
            block = self._block(index, number) if number >= 0 else None
            if block is None:
                return
            parts.append(Part(block, _run(part), _run(rows[part])))
        with using(self._store):
            write_places(self._pools, source, parts, len(keys), len({*keys}))

    def noted(self, source: str) -> dict[str, Numbers]:
        """Return numbers of a block and of those behind it, by source; see ``store.places``."""
        return read_numbers(self._pools, source)

    def note(self, numbers: Mapping[str, Numbers]) -> None:
        """Write numbers of blocks that follow each other, by source."""
        if not self._read_only:
            with using(self._store):
                write_numbers(self._pools, numbers)

    def _block(self, index: Index, number: int) -> Block | None:
        """Return a block with its keys; None where its shard is no longer what the index says."""
        shard, batch = index.place(number)
        stat, blocks = self._lists.get(shard, (None, {}))
        if stat != index.files[shard]:
            try:
                blocks = self._keep(shard, index.files[shard], read_blocks(self._folder, shard))
            except BrokenFileError as error:
                self._drop_shard(shard, str(error))
                return None
            except FileNotFoundError:  # merged by another process
                return None
        return blocks.get(batch)

    def _keep(self, shard: str, stat: Stat, blocks: Sequence[Block]) -> dict[str, Block]:
        """Keep the list of a shard in memory, and let the oldest ones go where they have many keys."""
        self._forget(shard)
        self._listed += sum(len(block.keys) for block in blocks)
        while self._lists and self._listed > _LISTED:
            self._forget(next(iter(self._lists)))
        by_batch = {block.batch: block for block in blocks}
        self._lists[shard] = stat, by_batch
        return by_batch

    def _forget(self, shard: str) -> None:
        _, blocks = self._lists.pop(shard, (None, {}))
        self._listed -= sum(len(block.keys) for block in blocks.values())

    def write(self, block: Block, values: NDArray[np.float32]) -> None:
        """Write a one-block shard; the caller holds the lock."""
        self._list(block.batch, write_array(self._folder, block.batch, [(block, values)]))

    def compact(self) -> None:
        """Merge the one-block shards into one, and sweep what killed processes left. Safe to kill."""
        with self.lock():
            index, parts = self.index(), []
            for name in index.singles:
                for block in read_blocks(self._folder, name):
                    if index.shard_of(block.batch) != name:  # a merge that was killed left it
                        remove_shards(self._folder, [block])
                        continue
                    try:
                        parts.append((block, read_rows(self._folder, block, self.dim)))
                    except BrokenFileError as error:
                        self._drop(block, str(error))
            if len(parts) > 1:
                name = f"merged-{hashlib.sha256('/'.join(b.batch for b, _ in parts).encode()).hexdigest()[:16]}"
                self._list(name, write_array(self._folder, name, parts))
                remove_shards(self._folder, [b for b, _ in parts])
            sweep(self._folder, set(self.index().arrays.values()), _STALE)

    def _list(self, shard: str, blocks: Sequence[Block]) -> None:
        """Write the JSON of a shard; its checksum tells of a power cut."""
        write_whole(self._folder / f"{shard}.json", list_blocks(blocks), overwrite=True, sync=False)

    def _drop_shard(self, name: str, reason: str) -> None:
        path = self._folder / f"{name}.json"
        self._report(Damage(path, reason))
        if not self._read_only:
            with self.lock():
                path.unlink(missing_ok=True)

    def _drop(self, block: Block, reason: str) -> None:
        """Report a block and take it out of its shard, unless another process has just merged that shard."""
        with contextlib.nullcontext() if self._read_only else self.lock():
            others = other_blocks(self._folder, block)
            if others is None:
                self._forget(block.shard)
                return
            self._index = Index()
            self._report(Damage(self._folder / block.array, reason, len(block.keys)))
            if self._read_only:
                self._bad.add((block.shard, block.batch))
            elif others:
                self._list(block.shard, others)
            else:
                remove_shards(self._folder, [block])


def _taken(keys: Sequence[str], places: Rows) -> list[str]:
    return list(keys[places]) if isinstance(places, slice) else [keys[i] for i in places.tolist()]


def _by_block(wanted: Ints, blocks: Ints, rows: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield the block of some keys, and which of the wanted keys lie in it, in the order of its rows."""
    wanted = wanted[np.lexsort((rows[wanted], blocks[wanted]))]
    numbers, cuts = np.unique(blocks[wanted], return_index=True)
    return zip(numbers.tolist(), np.split(wanted, cuts[1:]), strict=False)  # nothing wanted: no numbers, one part


def _run(positions: NDArray[np.int64]) -> Rows:
    """Return a slice where positions follow each other, which NumPy copies at once."""
    return slice(int(positions[0]), int(positions[-1]) + 1) if (np.diff(positions) == 1).all() else positions
