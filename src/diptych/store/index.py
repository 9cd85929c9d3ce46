"""Where the vectors of a space lie: key -> block and row, in memory that does not grow with the number of keys.

The keys that came last stand in a dictionary, and all others in sorted runs, which go to a temporary folder where they
are many (``data.sorted_runs``). What stays in memory is 16 bytes per block, a line a shard, and what could not be read.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from diptych.data.sorted_runs import Keys, Layout, RunWriter
from diptych.store.shards import Block

Stat = tuple[int, int, int]
Ints = NDArray[np.int64]

_LAYOUT = Layout(
    {"key": ("u8", 0), "rest": ("u8", 0), "block": ("u4", 0), "row": ("u4", 0)}, ("key", "block"), unique=False
)
RECENT = 65_536
"""Keys in the dictionary."""
BYTES = 16 * 2**20
"""Bytes of sorted rows in memory: of a store with 700,000 vectors no key goes to the disk."""
_DIGITS = 64  # of SHA-256
_PLACES = 10**6  # batches of a plan: their numbers in the names of batches have six digits


class Index:
    """All blocks of a space, read once and extended as shards appear.

    Attributes:
        files: shard -> what changes when its JSON is written again.
        arrays: shard -> name of its array file.
        failed: key -> reason.
        last: greatest number of a plan with a finished batch; -1 where there is none.
    """

    def __init__(self) -> None:
        self.files: dict[str, Stat] = {}
        self.arrays: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.last = -1
        self._recent: dict[str, int] = {}  # key -> block * 2^32 + row
        self._keys: RunWriter | None = None
        self._slots: dict[str, int] = {}
        self._shards: list[str] = []  # by slot
        self._held: list[int] = []  # by slot: blocks that are read there
        self._free: list[int] = []
        self._shard, self._batch = array("i"), array("q")  # of each block: slot of its shard, and number of its batch
        self._plans: dict[int, array[int]] = {}  # plan -> block of each of its batches, -1 where it is not finished

    @property
    def singles(self) -> list[str]:
        """The one-batch shards, sorted."""
        return sorted(name for name in self.files if not name.startswith("merged-"))

    def add(self, shard: str, stat: Stat, blocks: Sequence[Block]) -> None:
        """Add a shard. A block that is known from another one is read from a merged shard from then on: a merge that is
        under way, or was killed, leaves both.
        """
        self.files[shard] = stat
        here = self._slot(shard)
        for block in blocks:
            self.arrays[shard] = block.array
            number = self._number(block.batch)
            if number >= 0:
                if block.merged:
                    self._held[self._shard[number]] -= 1
                    self._held[here] += 1
                    self._shard[number] = here
                continue
            number = self._new(block.batch, here)
            self._held[here] += 1
            self.failed.update(block.failed)
            rows = dict(zip(reversed(block.keys), range((number << 32) + len(block.keys) - 1, -1, -1), strict=False))
            for key in (*block.yields, *rows.keys() & self._recent.keys()):  # the block that came first answers
                rows.pop(key, None)
            self._recent.update(rows)
            if len(self._recent) > RECENT:
                self._sort()

    def forget(self, shards: Iterable[str]) -> bool:
        """Forget shards that are no longer there; return False where blocks are lost with them."""
        lost = 0
        for shard in shards:
            del self.files[shard]
            self.arrays.pop(shard, None)
            if (slot := self._slots.pop(shard, -1)) >= 0:
                lost += self._held[slot]
                self._free.append(slot)
        return not lost

    def find(self, keys: Sequence[str]) -> tuple[Ints, Ints]:
        """Return (N,) blocks that answer N keys, -1 where there is none, and (N,) rows in them."""
        recent = np.fromiter(map(self._recent.get, keys, repeat(-1)), dtype=np.int64, count=len(keys))
        blocks, rows = recent >> 32, recent & 0xFFFFFFFF
        if len(keys) and self._keys:
            key, rest = _halves(keys)
            for places, rows_of in self._keys.finished().lookup(key):
                hits = np.flatnonzero(rows_of["rest"] == rest[places])
                hits = hits[::-1]  # of several blocks the first: what is assigned last stays
                held, block = blocks[places[hits]], rows_of["block"][hits].astype(np.int64)
                hits = hits[(held < 0) | (block < held)]
                blocks[places[hits]], rows[places[hits]] = rows_of["block"][hits], rows_of["row"][hits]
        return blocks, rows

    def done(self, batch: str) -> bool:
        """Tell whether a batch is finished."""
        return self._number(batch) >= 0

    def shard_of(self, batch: str) -> str | None:
        """Return the shard where a batch is read; None where it is not finished."""
        number = self._number(batch)
        return None if number < 0 else self._shards[self._shard[number]]

    def place(self, block: int) -> tuple[str, str]:
        """Return shard and batch of a block."""
        plan, position = divmod(self._batch[block], _PLACES)
        return self._shards[self._shard[block]], f"{plan:08d}-{position:06d}"

    def _sort(self) -> None:
        """Move the keys of the dictionary to the sorted runs."""
        key, rest = _halves(list(self._recent))
        places = np.fromiter(self._recent.values(), dtype=np.int64, count=len(self._recent))
        values = {"block": (places >> 32).astype(np.uint32), "row": (places & 0xFFFFFFFF).astype(np.uint32)}
        self._keys = self._keys or RunWriter(_LAYOUT, BYTES)
        self._keys.add({"key": key, "rest": rest, **values})
        self._recent.clear()

    def _slot(self, shard: str) -> int:
        if not self._free:
            self._free.append(len(self._shards))
            self._shards.append("")
            self._held.append(0)
        slot = self._slots[shard] = self._free.pop()
        self._shards[slot], self._held[slot] = shard, 0
        return slot

    def _number(self, batch: str) -> int:
        plan, position = _parts(batch)
        blocks = self._plans.get(plan, ())
        return blocks[position] if position < len(blocks) else -1

    def _new(self, batch: str, shard: int) -> int:
        plan, position = _parts(batch)
        blocks = self._plans.setdefault(plan, array("i"))
        blocks.extend([-1] * (position + 1 - len(blocks)))
        blocks[position] = number = len(self._shard)
        self._shard.append(shard)
        self._batch.append(plan * _PLACES + position)
        self.last = max(self.last, plan)
        return number


def _parts(batch: str) -> tuple[int, int]:
    plan, _, position = batch.partition("-")
    return int(plan), int(position)


def _halves(keys: Sequence[str]) -> tuple[Keys, Keys]:
    """Return two numbers of 64 bits for each of N keys, (N,) each."""
    if {*map(len, keys)} != {_DIGITS}:
        keys = [key if len(key) == _DIGITS else hashlib.sha256(key.encode()).hexdigest() for key in keys]
    words = np.frombuffer(bytes.fromhex("".join(keys)), dtype=">u8").reshape(-1, 4).astype(np.uint64)
    return words[:, 0] ^ words[:, 2], words[:, 1] ^ words[:, 3]
