"""Pictures in memory, and paths, as samples with a content key and a name."""

from __future__ import annotations

import hashlib
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DiptychError, UnreadableItem
from diptych.data.folders import ImageFiles
from diptych.data.formats.jats import Figure
from diptych.data.formats.pairs import PairItem
from diptych.data.formats.parquet_pairs import ParquetPair
from diptych.data.formats.tars import TarItem
from diptych.data.formats.webdataset import TarImages
from diptych.data.memory import FEW, InMemory, Packed, packed
from tests.support.image_files import photo

NAMES = [os.fsdecode(b"p\xff/\xe4\xb8\xad/%d\n\0.jpg" % (i * i)) for i in range(1000)]


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


def test_items_of_streams_have_the_key_of_their_file_and_are_not_decoded(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    content = (tmp_path / "a.png").read_bytes()
    file = str(tmp_path / "a.png")
    items = InMemory(
        [
            PairItem(file, "a"),
            Figure(file, "a"),
            ParquetPair(file, "a"),
            ParquetPair("x[0]", "a", content),
            TarItem("x.tar!a", {"txt": b"a", "png": content}),
        ]
    )
    assert {items.key(i) for i in range(5)} == {ImageFiles([file]).key(0)}
    assert InMemory([TarItem("x.tar!b", {"png": b"no picture"})]).key(0) == hashlib.sha256(b"no picture").hexdigest()
    with pytest.raises(UnreadableItem, match="has no picture"):
        InMemory([TarItem("x.tar!c", {"txt": b"a"})]).key(0)


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


@pytest.mark.parametrize("limit", [0, 2000, 2**20])
def test_values_come_back_in_any_order_from_several_threads_and_another_process(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.data.memory.BYTES", limit)
    values = Packed(iter(NAMES))
    assert (values._file is None) == (limit == 2**20), "few blocks stay in memory"
    assert (len(values), list(values), values[-1], values[990:2000:3]) == (1000, NAMES, NAMES[-1], NAMES[990::3])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values.__getitem__, [i * 389 % 1000 for i in range(4000)])) == [
            NAMES[i * 389 % 1000] for i in range(4000)
        ]
    again = pickle.loads(pickle.dumps(values))
    assert again == values
    assert hash(again) == hash(values)
    assert values != Packed(NAMES[:-1])
    assert values != Packed([*NAMES[:-1], "another"])
    with pytest.raises(IndexError):
        values[1000]
    assert list(Packed(())) == []


def test_no_room_for_names_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, block: bytes) -> int:
            return len(block) - 1

        def close(self) -> None: ...

    monkeypatch.setattr("diptych.data.memory.BYTES", 0)
    monkeypatch.setattr("diptych.data.memory.tempfile.TemporaryFile", lambda **_: Full())
    with pytest.raises(DiptychError, match=r"no room for a list of names \(No space left.*TMPDIR"):
        Packed(NAMES)


def test_only_many_values_are_packed_and_once() -> None:
    few, many = packed(iter(range(FEW))), packed(iter(range(FEW + 1)))
    assert few == tuple(range(FEW))
    assert isinstance(many, Packed)
    assert (packed(few), packed(many)) == (few, many)
    assert packed(many) is many
    assert list(packed([0] * (FEW + 1))) == [0] * (FEW + 1)


def test_many_paths_take_a_tenth_of_their_text() -> None:
    paths = [f"/data/photos/{i // 1000:07d}/{i:010d}.jpg" for i in range(100_000)]
    values = Packed(paths)
    assert len(pickle.dumps(values)) < 0.1 * sum(map(len, paths))


def test_names_of_files_and_members_are_read_from_packed_values() -> None:
    files = ImageFiles([f"a/{i}.jpg" for i in range(FEW + 1)])
    assert isinstance(files.paths, Packed)
    assert files.name(FEW) == f"a/{FEW}.jpg"
    members = TarImages(packed(("a.tar", f"{i}.jpg", i, 2 * i) for i in range(FEW + 1)))
    assert members.name(FEW) == f"a.tar!{FEW}.jpg"
    with pytest.raises(Exception, match=r"a.tar!7.jpg.*cannot be read"):
        members.read(7)
