"""Which data are streams, and what of them is held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, UsageError
from diptych.data.formats.pairs import PairStream
from diptych.verbs.train.pretrain import Pretrain
from tests.support.image_files import photo


@pytest.mark.parametrize(
    ("spec", "asked", "streamed"),
    [
        ("a/{0..9}.tar", False, True),
        ("a/{0..9}.tar::b/0.tar", False, True),
        ("a/{0..9}.tar::pairs.csv", False, False),
        ("pairs.csv", False, False),
        ("pairs.csv", True, True),
        ("photos", False, False),
    ],
)
def test_tars_are_streams_and_others_on_request(spec: str, asked: bool, streamed: bool) -> None:
    assert Pretrain(data=spec, stream=asked).is_stream() is streamed


def test_a_folder_of_tars_alone_is_a_stream(tmp_path: Path) -> None:
    for name in ("0.tar", "0_stats.json"):
        (tmp_path / name).touch()
    assert Pretrain(data=tmp_path).is_stream()
    (tmp_path / "cats").mkdir()  # class folders beside an archive
    assert not Pretrain(data=tmp_path).is_stream()


def written(root: Path) -> Path:
    lines = ["filepath,title", *(f"{i}.png,text {i}" for i in range(6))]
    for i in range(6):
        photo(root / f"{i}.png", i)
    (root / "0.png").write_bytes(b"words")
    (root / "pairs.csv").write_text("\n".join(lines))
    return root / "pairs.csv"


def test_the_first_pairs_that_can_be_read_are_held_out(tmp_path: Path) -> None:
    data, streamed = Pretrain(data=written(tmp_path), stream=True, held_out=3, shuffle=5).opened(None)
    table = data.splits["test"]
    assert (data.name, len(table)) == ("pairs.csv", 3)
    assert [c[0] for c in table.columns["captions"].values] == ["text 1", "text 2", "text 3"]
    assert len({table.items.key(i) for i in range(3)}) == 3
    assert table.items[0].size == table.items[1].size
    assert table.items.name(0).endswith("1.png")
    assert isinstance(streamed.stream, PairStream)
    assert (streamed.without, streamed.shuffle, streamed.skip) == (frozenset({1, 2, 3}), 5, True)


def test_what_cannot_be_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 pairs that can be read, and 9 are to be held out"):
        Pretrain(data=written(tmp_path), stream=True, held_out=9).opened(None)
    (tmp_path / "lines.txt").write_text("a\nb\n")
    with pytest.raises(UsageError, match="no pictures with texts"):
        Pretrain(data=tmp_path / "lines.txt", stream=True, held_out=2).opened(None)


def test_sources_are_weighted_shard_by_shard(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(tmp_path / name)
    spec = "::".join(str(tmp_path / name / "pairs.csv") for name in ("a", "b"))
    data, streamed = Pretrain(data=spec, stream=True, held_out=3, weights=(2, 1)).opened(None)
    assert streamed.weights == (2.0, 1.0)
    assert len(data.splits["test"]) == 3
    assert len({at for at, _ in streamed.stream.outcomes()}) == 12
    assert Pretrain(data=spec, stream=True, held_out=3, resampled=True).opened(None)[1].weights == (1.0, 1.0)
    assert Pretrain(data=spec, stream=True, held_out=3).opened(None)[1].weights is None
    with pytest.raises(UsageError, match="1 number for 2 sources"):
        Pretrain(data=spec, stream=True, held_out=3, weights=(2,)).opened(None)
    with pytest.raises(UsageError, match="Numbers with commas between are needed"):
        Pretrain.parsed("command", data=spec, weights="2,x")


def test_options_of_a_stream_are_refused_for_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pairs\.csv is not read as a stream, so lanes has no effect"):
        Pretrain(data="pairs.csv", lanes=4).checked(["data", "lanes"])
    with pytest.raises(UsageError, match=r"leave out regions, or stream"):
        Pretrain(data="pairs.csv", stream=True, regions="boxes.csv").checked(["data", "stream", "regions"])
