from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Sequence

import pytest

from diptych.store import index
from diptych.store.index import Index
from diptych.store.shards import Block
from tests.support.work.store import key

STAT = (0, 0, 0)


def block(batch: str, keys: Sequence[str], shard: str = "", yields: Sequence[str] = ()) -> Block:
    return Block(batch, tuple(keys), {}, frozenset(yields), f"{shard or batch}.npy", shard=shard or batch)


def test_keys_are_found_where_a_dictionary_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of several lengths, in memory and on disk, some in two blocks; singles are merged on the way."""
    monkeypatch.setattr(index, "BYTES", 2000)
    monkeypatch.setattr(index, "RECENT", 20)
    rng, made = random.Random(0), Index()
    names = [key(i)[: (64, 64, 40, 8)[i % 4]] for i in range(600)]
    owner: dict[str, tuple[str, int]] = {}
    waiting: list[Block] = []
    for number in range(90):
        keys = rng.sample(names, 9)
        added = block(f"{number // 40:08d}-{number % 40:06d}", keys, yields=[k for k in keys if k in owner])
        for row, k in enumerate(keys):
            owner.setdefault(k, (added.batch, row))
        made.add(added.batch, STAT, [added])
        waiting.append(added)
        if len(waiting) == 7:
            name = f"merged-{number:016x}"
            made.add(name, STAT, [block(b.batch, b.keys, name, tuple(b.yields)) for b in waiting])
            assert made.forget([b.shard for b in waiting]), "what was merged is read from the merged shard"
            waiting = []
        asked = rng.sample(names, 50)
        blocks, rows = made.find(asked)
        found = [(made.place(b)[1], r) if b >= 0 else None for b, r in zip(blocks.tolist(), rows.tolist(), strict=True)]
        assert found == [owner.get(k) for k in asked]
    assert made.last == 2
    assert (made.done("00000002-000009"), made.done("00000002-000010"), made.done("00000003-000000")) == (
        True,
        False,
        False,
    )
    assert made.singles == [b.batch for b in waiting]
    assert made.shard_of("00000000-000000") == f"merged-{6:016x}"
    assert not made.forget([f"merged-{6:016x}"]), "its blocks are lost"


def test_what_stays_in_memory_does_not_grow_with_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BYTES", 2**16)
    monkeypatch.setattr(index, "RECENT", 500)

    def peak(count: int) -> int:
        tracemalloc.start()
        made = Index()
        for start in range(0, count, 1000):
            keys = [hashlib.sha256(f"{i}".encode()).hexdigest() for i in range(start, start + 1000)]
            made.add(f"{start:08d}-000000", STAT, [block(f"{start:08d}-000000", keys)])
            assert made.find(keys)[1].tolist() == list(range(1000))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak(1000)  # what is imported on the way
    small, large = peak(20_000), peak(80_000)
    assert large < 1.2 * small, f"{small} and {large} bytes"
