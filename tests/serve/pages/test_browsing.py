from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import UsageError
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.serve.pages.browsing import EXAMPLES, PHOTOS, PLAIN, browsed, examples
from diptych.serve.pages.state import State


def opened(folder: Path, count: int) -> Index:
    index = Index.create(folder, {"dim": 2, "fingerprint": "x"})
    entries = [Entry(f"{i}.jpg", facts={"kind": "odd" if i % 2 else "even"}) for i in range(count)]
    if count:
        index.add(entries, {"image": (np.arange(count), np.ones((count, 2), np.float32))})
    return index


def test_photos_come_from_all_over_the_index(tmp_path: Path) -> None:
    with opened(tmp_path / "index", 240) as index:
        numbers = [int(tile.name.removesuffix(".jpg")) for tile in browsed(index, State()).tiles]
        assert len(numbers) == PHOTOS
        assert (min(numbers), max(numbers)) == (0, 239)
        assert max(np.diff(numbers)) <= 11
        odd = [int(tile.name.removesuffix(".jpg")) for tile in browsed(index, State(where="kind=odd")).tiles]
        assert len(odd) == PHOTOS
        assert all(number % 2 for number in odd)
        assert browsed(index, State(where="kind=neither")).tiles == ()
        with pytest.raises(UsageError, match="conditions such as"):
            browsed(index, State(where="nonsense"))
        assert index.delete(["0.jpg"]) == 1
        assert len(browsed(index, State()).tiles) == PHOTOS - 1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_small_index_shows_each_photo_once(tmp_path: Path, count: int) -> None:
    with opened(tmp_path / "index", count) as index:
        shown = browsed(index, State())
    assert sorted(tile.name for tile in shown.tiles) == sorted(f"{i}.jpg" for i in range(count))
    assert shown.examples == (PLAIN if count else ())
    assert shown.slider.highest == 0
    assert "No answers of text queries are marked" in shown.slider.reason


def test_examples_are_few_short_and_spread() -> None:
    named = [Entry(f"{i}.jpg", facts={"folder": f"train/{name}"}) for i, name in enumerate("abcdefghijklm")]
    assert examples([*named, *named]) == ("a", "c", "e", "g", "i", "k")
    assert len(examples(named)) == EXAMPLES
    odd = ["train", "2024-07-01", "DSC_0001", "val"]
    assert examples([Entry(f"{i}.jpg", facts={"folder": name}) for i, name in enumerate(odd)]) == PLAIN
    sources = ["coco_mini", "textile_sim", "flickr8k", "caltech40", "imagenet1k"]
    assert examples([Entry(f"{i}.jpg", facts={"folder": name}) for i, name in enumerate(sources)]) == PLAIN, "no kinds"
    assert examples([Entry("a.jpg", caption="a dog; a cat"), Entry("b.jpg", caption="x" * 61)]) == PLAIN
    assert examples([Entry("a.jpg", caption="A dog runs .", facts={"label": "dog"})]) == ("A dog runs",)
    assert examples([Entry("a.jpg", facts={"label": "hot_dog", "folder": "food"})]) == ("hot dog",)


def test_an_index_without_photos_says_so_and_offers_no_words(tmp_path: Path) -> None:
    with opened(tmp_path / "index", 0) as index:
        empty = browsed(index, State())
        assert "is empty: add photos with 'diptych index PHOTOS --out" in empty.remark
        assert (empty.examples, empty.tiles) == ((), ())
    with opened(tmp_path / "other", 1) as index:
        assert (browsed(index, State()).remark, browsed(index, State()).examples) == ("", PLAIN)
