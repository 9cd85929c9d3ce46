from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from diptych.core import Run, UnreadableItem
from diptych.data.memory import InMemory
from diptych.features.picture_facts import FactsEncoder, bits_apart, difference_hash, picture_facts
from diptych.features.pool_vectors import PoolVectors
from tests.support.pictures import picture


@dataclass
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"{self.number}.png"

    def image(self) -> Image.Image:
        if self.number == 2:
            raise UnreadableItem(self.name, "truncated")
        rng = np.random.default_rng(self.number)
        return Image.fromarray(rng.integers(0, 256, (20 + self.number, 300, 3), dtype=np.uint8))

    def key(self) -> str:
        return f"{self.number:064x}"


def test_facts_are_exact_and_pictures_are_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item(i) for i in range(5)]
    run = Run(cache=tmp_path, precision="bf16", decode="draft")
    first = picture_facts(InMemory(items), run, PoolVectors(run))
    readable = [0, 1, 3, 4]
    assert first.kept.tolist() == readable
    assert first.hashes.tolist() == [list(difference_hash(items[i].image())) for i in readable]
    assert first.sizes.tolist() == [[300, 20 + i] for i in readable]
    assert [(e.name, e.reason) for e in first.failed] == [("2.png", "truncated")]
    assert not run.tally
    monkeypatch.setattr(Item, "image", None)
    again = picture_facts(InMemory([items[i] for i in readable]), run, PoolVectors(run))
    assert (again.hashes == first.hashes).all()
    assert (again.sizes == first.sizes).all()


def test_few_pictures_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is measured by the thread that decoded it: whole batches of large photos would not fit."""
    measured: list[int] = []
    inputs = FactsEncoder.inputs
    monkeypatch.setattr(
        FactsEncoder, "inputs", lambda self, items, size=None: measured.append(len(items)) or inputs(self, items)
    )
    run = Run(cache=tmp_path)
    picture_facts(InMemory([Item(i) for i in range(10, 40)]), run, PoolVectors(run))
    assert measured == [1] * 30


def test_without_a_cache_they_are_taken_each_time() -> None:
    looked = picture_facts(InMemory([Item(2), Item(4)]), Run(), PoolVectors(Run()))
    assert (looked.kept.tolist(), looked.sizes.tolist(), len(looked.failed)) == ([1], [[300, 24]], 1)
    none = picture_facts(InMemory([Item(2)]), Run(), PoolVectors(Run()))
    assert (none.hashes.shape, none.sizes.shape) == ((0, 2), (0, 2))


def test_bits_are_the_signs_of_differences_to_the_right() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    bits = [int(grey[r, c + 1] > grey[r, c]) for r in range(8) for c in range(8)]
    assert difference_hash(Image.fromarray(grey))[0] == int("".join(map(str, bits)), 2)


def test_the_second_hash_is_that_of_the_mirror_image() -> None:
    for i in range(4):
        image = picture(i, i).resize((72, 64))
        own, mirrored = difference_hash(image)
        assert difference_hash(ImageOps.mirror(image)) == (mirrored, own)


def test_bits_apart_counts_as_python_does() -> None:
    a, b = np.random.default_rng(1).integers(0, 2**63, (2, 5), dtype=np.uint64)
    counted = bits_apart(a, b[:3])
    assert counted.shape == (5, 3)
    assert counted.tolist() == [[bin(x ^ y).count("1") for y in b[:3].tolist()] for x in a.tolist()]
