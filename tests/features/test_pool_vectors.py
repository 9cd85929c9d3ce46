from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import Run, Texts, UnreadableItem
from diptych.core.blocks import Block
from diptych.data.memory import InMemory
from diptych.features.embed import embed_arrays
from diptych.features.pool_vectors import Pictures, PoolVectors, failures
from diptych.store.store import Store
from tests.support.backbone import SmallBackbone
from tests.support.pictures import picture

BACKBONE = SmallBackbone()


@dataclass
class Item:
    """An item with a key; 3 has none, and 5 cannot be decoded."""

    number: int
    asked: int = 0

    @property
    def name(self) -> str:
        return f"p{self.number}.jpg"

    def image(self) -> Image.Image:
        if self.number == 5:
            raise UnreadableItem(self.name, "truncated")
        return picture(self.number, self.number)

    def key(self) -> str:
        self.asked += 1
        if self.number == 3:
            raise UnreadableItem(self.name, "has no picture")
        return f"{self.number:064x}"


def samples(numbers: Sequence[int]) -> InMemory:
    return InMemory([Item(i) for i in numbers])


@pytest.mark.parametrize("cached", [False, True])
def test_vectors_errors_and_counts_are_those_of_embed(cached: bool, tmp_path: Path) -> None:
    """In a first pass, which encodes, and in a second one, which reads."""
    whole, run = Run(), Run(cache=tmp_path if cached else None)
    expected = embed_arrays(BACKBONE.image, samples(range(8)), whole)
    for _ in range(2):
        found = PoolVectors(run).arrays(BACKBONE.image, samples(range(8)))
        assert (found.values == expected.values).all()
        assert found.kept.tolist() == [0, 1, 2, 4, 6, 7]
        assert [(e.name, e.reason) for e in found.failed] == [("p3.jpg", "has no picture"), ("p5.jpg", "truncated")]
    assert run.tally["failed"] == 2 * whole.tally["failed"] == 4
    assert (run.tally["encoded"], run.tally["cached"]) == ((6, 6) if cached else (12, 0))


def test_what_is_stored_is_neither_decoded_nor_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readable, run = [0, 1, 2, 4, 1], Run(cache=tmp_path)
    expected = embed_arrays(BACKBONE.image, samples(readable), run)
    texts = embed_arrays(BACKBONE.text, Texts(("a cat", "a dog")), run)
    run.tally.clear()
    opened: list[str] = []
    space = Store.space
    monkeypatch.setattr(Store, "space", lambda self, facts: opened.append(facts["modality"]) or space(self, facts))
    monkeypatch.setattr(Store, "plan", None)
    monkeypatch.setattr(Item, "image", None)
    vectors = PoolVectors(run)
    for _ in range(3):
        found = vectors.arrays(BACKBONE.image, samples(readable))
        assert (found.values == expected.values).all()
        assert found.kept.tolist() == [0, 1, 2, 3, 4]
        assert (vectors.arrays(BACKBONE.text, Texts(("a cat", "a dog"))).values == texts.values).all()
    assert opened == ["image", "text"]
    assert run.tally["cached"] == 3 * (4 + 2)
    assert run.tally["text_us"] > 0


def test_a_key_is_asked_for_once(tmp_path: Path) -> None:
    items = [Item(i) for i in (0, 1, 3)]
    once, vectors = Pictures(Block.of([*enumerate(items)])), PoolVectors(Run(cache=tmp_path))
    for _ in range(2):
        assert vectors.arrays(BACKBONE.image, once).kept.tolist() == [0, 1]
    assert [item.asked for item in items[:2]] == [1, 1]
    assert (len(once), once.key(1), once.name(2), once[0].size) == (3, f"{1:064x}", "p3.jpg", items[0].image().size)


def test_a_block_that_was_placed_is_read_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its file changes, or what was noted is damaged; a block with a picture that cannot be read is not noted."""
    run, items = Run(cache=tmp_path), [Item(i) for i in (4, 0, 2, 0)]

    def read(source: str) -> np.ndarray:
        result = PoolVectors(run).arrays(
            BACKBONE.image, Pictures(replace(Block.of([*enumerate(items)]), source=source))
        )
        assert result.kept.tolist() == [0, 1, 2, 3]
        return result.values

    expected = read("pool")  # encoded, and noted
    asked = sum(item.asked for item in items)
    run.tally.clear()
    assert asked == 4
    assert (read("pool") == expected).all()
    assert (sum(item.asked for item in items), run.tally["cached"]) == (asked, 3)
    pictures = Pictures(replace(Block.of([*enumerate(items)]), source="pool"))
    some = PoolVectors(run).rows(BACKBONE.image, pictures, [2, 3])
    assert (some.values == expected[2:]).all()
    assert sum(item.asked for item in items) == asked
    assert (read("pool, changed") == expected).all()
    assert sum(item.asked for item in items) == asked + 4
    (note,) = (path for path in tmp_path.glob("*/pools/*.json") if b"changed" not in path.read_bytes())
    note.write_bytes(note.read_bytes().replace(b"0", b"1"))
    assert (read("pool") == expected).all()
    assert sum(item.asked for item in items) == asked + 8
    broken = Pictures(replace(Block.of([*enumerate(map(Item, (0, 3, 5)))]), source="broken"))
    for _ in range(2):
        assert PoolVectors(run).arrays(BACKBONE.image, broken).kept.tolist() == [0]
    assert len([*tmp_path.glob("*/pools/*.json")]) == 2


def test_failures_are_the_rows_that_are_absent() -> None:
    errors = [UnreadableItem("a", "x"), UnreadableItem("b", "y")]
    assert failures([2, 4, 7, 9], np.array([4, 9]).tolist(), errors) == {2: errors[0], 7: errors[1]}
    assert failures([2, 4], [2, 4], []) == {}
