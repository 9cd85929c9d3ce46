from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from diptych.core import UnreadableItem
from diptych.data.formats.tar_columns import TarColumns


@dataclass(frozen=True)
class Item:
    members: Mapping[str, bytes]
    name: str = "000"

    def text(self, ending: str = "txt") -> str:
        if ending not in self.members:
            raise UnreadableItem(self.name, f"has no .{ending}")
        return self.members[ending].decode()

    def record(self, ending: str = "json") -> Any:
        return json.loads(self.members[ending])


def item(record: dict[str, Any] | None = None, **members: bytes) -> Item:
    more = {} if record is None else {"json": json.dumps(record).encode()}
    return Item({"txt": b"a cat", **more, **members})


def test_the_text_member_is_the_caption_where_no_field_is_named() -> None:
    assert dict(TarColumns(item())) == {"captions": ("a cat",)}


def test_named_fields_patterns_and_lists_become_captions() -> None:
    record = {"caption_0": "x", "caption_1": "y", "more": ["u", "v"]}
    assert TarColumns(item(record), ("caption_*",))["captions"] == ("x", "y")
    assert TarColumns(item(record), ("txt", "more"))["captions"] == ("a cat", "u", "v")
    with pytest.raises(UnreadableItem, match="has no caption in title"):
        TarColumns(item(record), ("title",))["captions"]


def test_named_fields_that_are_not_there_are_known() -> None:
    fields = ("caption_*", "txt", "capton", "syn_*")
    assert TarColumns(item({"caption_0": "x"}), fields).lacking() == ("capton", "syn_*")
    assert TarColumns(item()).lacking() == ()


def test_shares_and_weights_of_fields_stand_beside_the_captions() -> None:
    record = {"title": "x", "caption_weights": [0.25, 0.75], "more": ["u", "v"]}
    assert TarColumns(item(record), ("more",))["captions_weights"] == (0.25, 0.75)
    shared = TarColumns(item(record), ("txt", "title"), (0.9, 0.1))
    assert shared["captions_weights"] == pytest.approx((0.9, 0.1))
    with pytest.raises(KeyError):
        TarColumns(item())["captions_weights"]


def test_of_several_records_the_first_field_counts() -> None:
    both = Item({"json": b'{"syn_text": "first"}', "syn.json": b'{"syn_text": "second", "title": "t"}'})
    assert TarColumns(both, ("title",))["synthetic"] == ("first",)


def test_vectors_are_unpacked_when_they_are_read() -> None:
    file = io.BytesIO()
    np.savez(file, image_emb=np.ones(2, np.float32), text_emb=np.zeros((1, 2), np.float32))
    columns = TarColumns(item(npz=file.getvalue()))
    assert columns["teacher_image"].shape == (2,)
    assert columns["teacher_text"].shape == (1, 2)
    damaged = TarColumns(item(npz=b"damaged"))
    assert "teacher_image" in damaged  # nothing is unpacked
    with pytest.raises(UnreadableItem, match="holds no arrays"):
        damaged["teacher_image"]
    assert "teacher_image" not in TarColumns(item())


def test_two_vectors_for_one_caption_are_refused() -> None:
    file = io.BytesIO()
    np.savez(file, image_emb=np.ones(2, np.float32), text_emb=np.zeros((2, 2), np.float32))
    with pytest.raises(UnreadableItem, match="one picture and 1 captions"):
        TarColumns(item(npz=file.getvalue()))["teacher_text"]
