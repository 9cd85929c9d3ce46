"""How a training reads a stream of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webdataset

from diptych.core import UnreadableItem, UsageError
from diptych.data.formats.pairs import open_pairs
from diptych.data.formats.tars import open_tars
from diptych.tasks.training.streams import SOURCE, Chained, Reading, all_tars
from tests.data.formats.test_weighted import shard
from tests.support.image_files import photo


def written(root: Path) -> str:
    for i in range(6):
        photo(root / f"{i}.png", i)
    (root / "pairs.csv").write_text("\n".join(["filepath,title", *(f"{i}.png,text {i}" for i in range(6))]))
    return str(root / "pairs.csv")


def test_the_first_pairs_are_held_out_and_the_others_stream(tmp_path: Path) -> None:
    data, streamed = Reading(shuffle=3, held_out=2, lanes=1).open(written(tmp_path))
    assert [c[0] for c in data.splits["test"].columns["captions"].values] == ["text 0", "text 1"]
    assert (streamed.without, streamed.shuffle, streamed.lanes) == (frozenset({0, 1}), 3, 1)
    assert streamed.weights is None


def test_weights_are_one_for_each_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights has 2 numbers for 1 source:"):
        Reading(held_out=2, weights=(1, 2)).open(written(tmp_path))


def test_several_sources_are_tars_if_all_are() -> None:
    assert all_tars("a.tar::b/{0..3}.tar")
    assert not all_tars("a.tar::pairs.csv")


def test_captions_of_tars_are_fields_whatever_vectors_lie_beside_them(tmp_path: Path) -> None:
    data, streamed = Reading(held_out=2).open(str(shard(tmp_path)), "txt,syn_text", (1, 1))
    assert data.splits["test"].columns["captions"].values[1] == ("alt 1", "one 1", "two 1")
    assert next(item for _, item in streamed.stream).columns["captions_weights"] == (0.5, 0.25, 0.25)


def test_a_field_that_no_held_out_pair_has_is_mentioned(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"None of the first 2 pairs of .*\.tar has captions in captoin: check the names"
    ):
        Reading(held_out=2).open(str(shard(tmp_path)), "txt,captoin")


def chained(root: Path) -> Chained:
    for number in range(2):
        with webdataset.TarWriter(str(root / f"{number}.tar")) as writer:
            for i in range(3):
                writer.write({"__key__": f"{number}-{i}", "txt": f"tar {number}-{i}"})
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
