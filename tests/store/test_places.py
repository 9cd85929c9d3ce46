from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.store.housekeeping import foreign, list_spaces, move, remove
from diptych.store.layers import Layered, Unstored
from diptych.store.places import Numbers
from diptych.store.store import Store

FACTS = {"encoder": "00ff", "dim": 3}
KEYS = [f"{i:064x}" for i in range(40)]
VALUES = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def filled(folder: Path, merge: int = 64) -> tuple[Store, str]:
    """A store of five batches of eight."""
    store = Store(folder, merge=merge)
    space = store.space(FACTS)
    for number, batch in enumerate(store.plan(space, KEYS, size=8)):
        store.put(space, batch, VALUES[8 * number : 8 * number + 8])
    return store, space


@pytest.mark.parametrize("rows", [range(40), range(5, 21), range(39, -1, -1), [7, 7, 0, 33], []])
def test_vectors_come_back_in_the_order_of_the_block(rows: range | list[int], tmp_path: Path) -> None:
    store, space = filled(tmp_path)
    assert store.placed(space, "pool") is None
    keys = [KEYS[i] for i in rows]
    store.place(space, "pool", keys)
    for opened in (store, Store(tmp_path), Store(tmp_path, read_only=True)):
        opened.space(FACTS)
        placed = opened.placed(space, "pool")
        assert placed is not None
        assert (placed.values == VALUES[list(rows)].reshape(-1, 3)).all()
        assert placed.distinct == len({*keys})
        assert opened.placed(space, "another pool") is None


def test_what_was_merged_or_damaged_is_looked_up_by_key(tmp_path: Path) -> None:
    store, space = filled(tmp_path)
    store.place(space, "pool", KEYS)
    store.compact(space)
    assert store.placed(space, "pool") is None
    store.place(space, "pool", KEYS)
    assert (Store(tmp_path).get(space, KEYS)[0] == VALUES).all()
    placed = store.placed(space, "pool")
    assert placed is not None
    (array,) = (tmp_path / space / "shards").glob("merged-*.npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.unlink()  # an open file would show the old bytes
    array.write_bytes(content)
    assert Store(tmp_path).placed(space, "pool") is None
    array.write_bytes(content[:-1])
    assert Store(tmp_path).placed(space, "pool") is None


def test_a_key_without_vector_notes_nothing(tmp_path: Path) -> None:
    store, space = filled(tmp_path)
    store.place(space, "pool", [*KEYS, "ab" * 32])
    Store(tmp_path, read_only=True).place(space, "pool", KEYS)
    assert store.placed(space, "pool") is None


def test_notes_are_files_of_the_store(tmp_path: Path) -> None:
    store, space = filled(tmp_path / "old")
    store.place(space, "pool", KEYS)
    assert foreign(tmp_path / "old") == []
    move(tmp_path / "old", tmp_path / "new", idle=0)
    store = Store(tmp_path / "new")
    placed = store.placed(store.space(FACTS), "pool")
    assert placed is not None
    assert (placed.values == VALUES).all()
    assert remove(tmp_path / "new", list_spaces(tmp_path / "new"), idle=0) == []
    assert not (tmp_path / "new" / space).exists()


def test_numbers_of_blocks_are_noted_together_under_the_first_source(tmp_path: Path) -> None:
    store, space = filled(tmp_path)
    noted = {"first": Numbers(VALUES[:8, 0], 12), "second": Numbers(VALUES[8:10, 0], 4)}
    store.note(space, noted)
    for opened in (store, Store(tmp_path, read_only=True)):
        opened.space(FACTS)
        back = opened.noted(space, "first")
        assert {source: (n.values.tolist(), n.vectors) for source, n in back.items()} == {
            source: (n.values.tolist(), n.vectors) for source, n in noted.items()
        }
        assert opened.noted(space, "second") == {}
    Store(tmp_path, read_only=True).note(space, {"third": noted["first"]})
    assert store.noted(space, "third") == {}
    assert store.placed(space, "first") is None, "numbers are no vectors"
    store.place(space, "fourth", KEYS)
    assert store.noted(space, "fourth") == {}, "nor vectors numbers"
    for file in (tmp_path / space / "pools").glob("*.json"):
        file.write_bytes(file.read_bytes().replace(b'"first"', b'"other"'))
    assert store.noted(space, "first") == {}
    assert foreign(tmp_path) == []


def test_numbers_of_layers(tmp_path: Path) -> None:
    (shared, space), own = filled(tmp_path / "shared"), Store(tmp_path / "own")
    layered, alone = Layered(shared, own), Unstored(shared)
    layered.space(FACTS)
    for number, store in enumerate((shared, layered, alone, Unstored(None))):
        store.note(space, {f"pool {number}": Numbers(VALUES[:2, 0], number)})
    assert [n.vectors for n in layered.noted(space, "pool 0").values()] == [0]
    assert [n.vectors for n in layered.noted(space, "pool 1").values()] == [1]
    assert shared.noted(space, "pool 1") == alone.noted(space, "pool 2") == Unstored(None).noted(space, "pool 3") == {}
    assert [n.vectors for n in alone.noted(space, "pool 0").values()] == [0]


def test_the_store_that_has_all_of_a_block_answers(tmp_path: Path) -> None:
    shared, space = filled(tmp_path / "shared")
    own = Store(tmp_path / "own")
    layered = Layered(shared, own)
    layered.space(FACTS)
    layered.place(space, "pool", KEYS)
    assert layered.placed(space, "pool") is None
    shared.place(space, "pool", KEYS)
    placed = layered.placed(space, "pool")
    assert placed is not None
    assert (placed.values == VALUES).all()
    alone = Unstored(shared)
    alone.place(space, "other", KEYS)
    assert (alone.placed(space, "pool") is None, alone.placed(space, "other")) == (False, None)
    assert Unstored(None).placed(space, "pool") is None
    (batch,) = own.plan(space, KEYS[:2], size=8)
    own.put(space, batch, VALUES[:2])
    layered.place(space, "two", KEYS[:2])
    assert own.placed(space, "two") is not None
