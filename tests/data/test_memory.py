"""Pictures in memory, and paths, as samples with a content key and a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core.errors import UnreadableItem
from diptych.data.folders import ImageFiles
from diptych.data.memory import InMemory
from tests.support.image_files import photo


@dataclass
class Streamed:
    name: str

    def image(self) -> Image.Image:
        return Image.new("RGB", (2, 2), "red")


def test_every_kind_of_item_has_a_picture_a_name_and_a_key(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    array = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    items = InMemory([array, Image.fromarray(array), Streamed("third"), tmp_path / "a.png"])
    assert [items.name(i) for i in range(4)] == ["0", "1", "third", str(tmp_path / "a.png")]
    assert items.key(0) == items.key(1) == items.key(2) != items.key(3)
    assert items.key(3) == ImageFiles([str(tmp_path / "a.png")]).key(0)
    assert np.array_equal(items[2], array)
    turned = InMemory([np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)])
    assert turned.key(0) != turned.key(1), "equal bytes of another shape are another picture"


def test_given_names_and_keys_count() -> None:
    items = InMemory([Image.new("RGB", (1, 1))], ("mine",), ("k",))
    assert (len(items), items.name(0), items.key(0)) == (1, "mine", "k")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    items = InMemory([tmp_path / "a.png", tmp_path / "absent.png"])
    with pytest.raises(UnreadableItem, match=r"a\.png"):
        items[0]
    with pytest.raises(UnreadableItem, match=r"absent\.png"):
        items.key(1)
