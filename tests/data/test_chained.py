"""Several sources read as one stream, split at their files, and sought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webdataset

from diptych.core import UnreadableItem
from diptych.data.chained import SOURCE, Chained
from diptych.data.formats.pairs import open_pairs
from diptych.data.formats.tars import open_tars
from tests.support.image_files import photo


def chained(root: Path) -> Chained:
    for shard in range(2):
        with webdataset.TarWriter(str(root / f"{shard}.tar")) as writer:
            for i in range(3):
                writer.write({"__key__": f"{shard}-{i}", "txt": f"tar {shard}-{i}"})
    for i in range(2):
        photo(root / f"{i}.png", i)
    (root / "t.csv").write_text("filepath,title\n0.png,row 0\n../x.png,row 1\n1.png,row 2")
    return Chained((open_tars(root / "{0..1}.tar"), open_pairs(root / "t.csv")))


def told(stream: Any) -> list[tuple[int, str]]:
    return [(at, "error" if isinstance(item, UnreadableItem) else item.text()) for at, item in stream.outcomes()]


def test_sources_follow_one_another_with_positions_of_their_own(tmp_path: Path) -> None:
    stream = chained(tmp_path)
    found = told(stream)
    assert [text for _, text in found] == [f"tar {s}-{i}" for s in range(2) for i in range(3)] + [
        "row 0",
        "error",
        "row 2",
    ]
    assert [at for at, _ in found[6:]] == [SOURCE, SOURCE + 1, SOURCE + 2]
    with pytest.raises(UnreadableItem):
        list(stream)


def test_parts_are_files_whose_items_keep_their_positions(tmp_path: Path) -> None:
    stream = chained(tmp_path)
    parts = stream.parts(len(stream.shards))
    assert len(parts) == len(stream.shards) == 3
    assert [pair for part in parts for pair in told(part)] == told(stream)


def test_it_is_sought_in_every_source(tmp_path: Path) -> None:
    stream = chained(tmp_path)
    found = told(stream)
    for i, (position, _) in enumerate(found):
        assert told(stream.seek(position)) == found[i:]
    table = stream.parts(3)[2]
    assert told(table.seek(SOURCE + 1)) == found[7:]


def test_a_number_for_each_source_is_one_for_each_file(tmp_path: Path) -> None:
    assert chained(tmp_path).each((2.0, 0.5)) == (2.0, 2.0, 0.5)
