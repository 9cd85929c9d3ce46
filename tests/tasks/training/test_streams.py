"""How a training reads a stream of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.tasks.training.streams import Reading, all_tars
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
    with pytest.raises(UsageError, match=r"weights has 2 numbers, and there are 1 sources"):
        Reading(held_out=2, weights=(1, 2)).open(written(tmp_path))


def test_several_sources_are_tars_if_all_are() -> None:
    assert all_tars("a.tar::b/{0..3}.tar")
    assert not all_tars("a.tar::pairs.csv")


def test_captions_of_tars_are_fields_whatever_vectors_lie_beside_them(tmp_path: Path) -> None:
    data, streamed = Reading(held_out=2).open(str(shard(tmp_path)), "txt,syn_text", (1, 1))
    assert data.splits["test"].columns["captions"].values[1] == ("alt 1", "one 1", "two 1")
    assert next(item for _, item in streamed.stream).columns["captions_weights"] == (0.5, 0.25, 0.25)
