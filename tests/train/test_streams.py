"""Batches of streams behind the one loop: shards, workers, processes, and going on after a stop."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from torch import Tensor, nn

from diptych.core import Clock, ParamGroup, Row, Run, Stream, Trainee, UnreadableItem, UsageError, World
from diptych.data.formats.pairs import open_pairs
from diptych.data.formats.tars import open_tars
from diptych.data.skipped import read_skipped
from diptych.train.batches import LongOrder, Shuffle, open_source
from diptych.train.schedule import Fit
from diptych.train.streams import Streamed
from tests.support.image_files import gradient, photo

ALONE = World()


class Pairs(Trainee):
    def module(self) -> nn.Module:
        return nn.Identity()

    def groups(self) -> list[ParamGroup]:
        return []

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        pixels = torch.from_numpy(np.array(row.item)).float().mean()
        return {"image": pixels, "text": row.columns["captions"][0], "draw": torch.rand((), generator=g)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        return {}


def streams(root: Path, shards: int = 2, each: int = 7) -> dict[str, Stream[Any]]:
    lines = ["filepath,title"]
    for shard in range(shards):
        with webdataset.TarWriter(str(root / f"{shard}.tar")) as writer:
            for i in range(each):
                path = photo(root / f"p/{shard}-{i}.png", 10 * shard + i)
                lines.append(f"p/{shard}-{i}.png,text {shard}-{i}")
                writer.write({"__key__": f"{shard}-{i}", "png": path.read_bytes(), "txt": f"text {shard}-{i}"})
    (root / "t.csv").write_text("\n".join(lines))
    return {"tars": open_tars(root / f"{{0..{shards - 1}}}.tar"), "pairs": open_pairs(root / "t.csv")}


def texts(
    stream: Any, workers: int = 0, last: Any = None, *, batch: int = 4, epoch: int = 0, world: World = ALONE
) -> list[tuple[Any, list[str], list[float], list[float]]]:
    source = open_source(stream, Pairs(), Fit(lr=1.0, steps=4, batch=batch), Run(workers=workers, world=world))
    return [(place, b["text"], b["image"].tolist(), b["draw"].tolist()) for place, b in source.epoch(epoch, last)]


def flat(batches: list[Any]) -> list[str]:
    return [t for _, batch, _, _ in batches for t in batch]


@pytest.mark.enable_socket
@pytest.mark.parametrize("kind", ["tars", "pairs"])
def test_batches_do_not_depend_on_workers_or_on_a_stop(tmp_path: Path, kind: str) -> None:
    stream = Streamed(streams(tmp_path, 4, 9)[kind], shuffle=12)
    whole = texts(stream)
    seen = flat(whole)
    assert len(set(seen)) == len(seen) >= 32
    assert seen != sorted(seen)
    assert flat(texts(stream, epoch=1)) != seen
    assert texts(stream, 3) == whole
    for cut in range(len(whole)):
        place = json.loads(json.dumps(whole[cut][0]))  # as a checkpoint has it
        assert texts(stream, 2 * (cut % 2), place) == whole[cut + 1 :]


@pytest.mark.parametrize("kind", ["tars", "pairs"])
def test_without_shuffling_the_order_is_that_of_the_stream(tmp_path: Path, kind: str) -> None:
    stream = Streamed(streams(tmp_path)[kind], shuffle=1, lanes=1)
    assert flat(texts(stream)) == [f"text {s}-{i}" for s in range(2) for i in range(7)][:12]


def test_both_streams_give_the_same_pairs(tmp_path: Path) -> None:
    both = {kind: Streamed(s, shuffle=1, lanes=1) for kind, s in streams(tmp_path).items()}
    assert [b[1:3] for b in texts(both["tars"])] == [b[1:3] for b in texts(both["pairs"])]


def test_processes_and_lanes_read_shards_of_their_own(tmp_path: Path) -> None:
    stream = streams(tmp_path, 8, 5)["tars"]
    shares = [texts(Streamed(stream, lanes=2), batch=4, world=World(rank, 2)) for rank in range(2)]
    shards = [{t.split()[1][0] for t in flat(share)} for share in shares]
    assert shards[0].isdisjoint(shards[1])
    assert len(shards[0] | shards[1]) == 8
    assert [len(b[1]) for b in shares[0]] == [2] * 10  # ten of a lane's items in batches of two, and two lanes
    for share in shares:
        first, second = ({t.split()[1][0] for t in flat(share[lane::2])} for lane in range(2))
        assert first.isdisjoint(second)


def test_each_lane_leaves_out_what_fills_no_batch_and_other_items_in_another_epoch(tmp_path: Path) -> None:
    stream = streams(tmp_path, 4, 7)["tars"]
    every = {f"text {shard}-{i}" for shard in range(4) for i in range(7)}
    epochs = [flat(texts(Streamed(stream, lanes=2), batch=4, epoch=n)) for n in range(2)]
    assert [len(seen) for seen in epochs] == [24, 24], "two lanes of 14, of which 12 fill batches of 4"
    assert [len(set(seen)) for seen in epochs] == [24, 24]
    assert every - set(epochs[0]) != every - set(epochs[1])
    assert len(flat(texts(Streamed(stream, lanes=1), batch=4))) == 28


@pytest.mark.enable_socket
def test_more_than_eight_shards_are_read_at_once_where_asked(tmp_path: Path) -> None:
    stream = Streamed(streams(tmp_path, 12, 3)["tars"], shuffle=1, lanes=12)
    first = texts(stream, batch=3)
    assert [len({t.split("-")[0] for t in batch}) for _, batch, _, _ in first] == [1] * 12, "a lane each"
    assert len(set(flat(first))) == 36
    assert texts(stream, batch=3, workers=2) == first


def test_held_out_items_are_left_out(tmp_path: Path) -> None:
    stream = streams(tmp_path, 4, 4)["tars"]
    held = frozenset(position for position, _ in list(stream)[:4])
    seen = flat(texts(Streamed(stream, without=held), batch=2))
    assert sorted(seen) == [f"text {s}-{i}" for s in range(1, 4) for i in range(4)]


@pytest.mark.enable_socket
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_in_the_training_process(tmp_path: Path, workers: int) -> None:
    stream = streams(tmp_path)["pairs"]
    (tmp_path / "p/0-3.png").write_bytes(b"words")
    with pytest.raises(UnreadableItem, match=r"0-3\.png: not a picture"):
        texts(stream, workers)


@pytest.mark.parametrize("kind", ["tars", "pairs"])
def test_what_cannot_be_read_may_be_left_out_and_is_counted(tmp_path: Path, kind: str) -> None:
    both = streams(tmp_path, 4, 5)
    gradient().save(tmp_path / "p/0-0.png")
    (tmp_path / "p/0-3.png").write_bytes(b"words")
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"0-{i}", "png": (tmp_path / f"p/0-{i}.png").read_bytes(), "txt": f"text 0-{i}"})
    data = Streamed(both[kind], skip=True, shuffle=1)
    source = open_source(data, Pairs(), Fit(lr=1.0, steps=4, batch=4), Run(out=tmp_path / "out"))
    with pytest.warns(UserWarning, match=r"cannot be read are left out; the first: .*0-3"):
        seen = [t for _, b in source.epoch(0, None) for t in b["text"]]
    assert source.skipped == 1
    list(source.epoch(1, None))
    ((name, reason),) = [row.values() for row in read_skipped(tmp_path / "out" / "skipped.csv", 9)]
    assert ("0-3" in name, reason.startswith("not a picture")) == (True, True)
    assert "text 0-3" not in seen


@pytest.mark.enable_socket
def test_drawn_shards_do_not_depend_on_workers_or_on_a_stop(tmp_path: Path) -> None:
    stream = streams(tmp_path, 4, 9)["tars"]
    weighted = Streamed(stream, shuffle=12, lanes=4, weights=(1.0, 1.0, 2.0, 0.0))
    for rank in range(2):
        world = World(rank, 2)
        whole = texts(weighted, batch=6, world=world)
        assert texts(weighted, 4, batch=6, world=world) == whole
        for cut in (0, 3, len(whole) - 2):
            place = json.loads(json.dumps(whole[cut][0]))
            assert texts(weighted, batch=6, last=place, world=world) == whole[cut + 1 :]
    assert texts(weighted, batch=6, world=World(0, 2)) != texts(weighted, batch=6, world=World(1, 2))


def test_shards_are_drawn_by_weight_and_anew_in_every_epoch(tmp_path: Path) -> None:
    stream = streams(tmp_path, 4, 4)["tars"]
    weighted = Streamed(stream, shuffle=4, lanes=1, weights=(3.0, 1.0, 0.0, 0.0))
    epochs = [flat(texts(weighted, batch=4, epoch=n)) for n in range(60)]
    assert all(len(seen) == 16 for seen in epochs), "an epoch draws as many shards as there are"
    first = np.array([[text.startswith("text 0") for text in seen] for seen in epochs])
    assert not any(text[5] in "23" for seen in epochs for text in seen)
    assert abs(first.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 240)  # 240 draws of a shard
    assert len({tuple(seen) for seen in epochs}) == 60


def test_an_item_that_comes_again_looks_different(tmp_path: Path) -> None:
    stream = streams(tmp_path, 2, 4)["tars"]
    batches = texts(Streamed(stream, shuffle=4, lanes=2, weights=(1.0, 0.0)), batch=4)
    looks = [draw for _, _, _, draws in batches for draw in draws]
    assert sorted(flat(batches)) == sorted([f"text 0-{i}" for i in range(4)] * 2)
    assert len(set(looks)) == 8
    assert batches[0][1] != batches[1][1]


def test_weights_must_be_those_of_the_shards(tmp_path: Path) -> None:
    both = streams(tmp_path)
    for kind, weights in (("tars", (1.0,)), ("tars", (0.0, 0.0)), ("tars", (1.0, -1.0)), ("pairs", (1.0,))):
        with pytest.raises(UsageError, match=r"one weight each.*give as many"):
            Streamed(both[kind], weights=weights)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="shuffled among at least one"):
        Streamed(Many(), shuffle=0)


@dataclass(frozen=True)
class Many:
    """4,000 shards of 100,000 items, none of which exists before it is asked for."""

    shards: range = range(4_000)
    start: int = 0
    stop: int = 4_000 * 100_000

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((i, i) for i in range(self.start, self.stop))

    def parts(self, count: int) -> list[Many]:
        return [Many(start=s * 100_000, stop=(s + 1) * 100_000) for s in self.shards]

    def seek(self, position: int) -> Many:
        return Many(start=position, stop=self.stop)


class Numbers(Pairs):
    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        return {"number": row.item}


def test_four_hundred_million_rows_are_sampled_within_200_mb() -> None:
    tracemalloc.start()
    order = Shuffle(400_000_000, seed=0).batches(epoch=0, size=32_768)
    assert isinstance(order, LongOrder)
    seen = np.concatenate([order[i] for i in (0, 1, len(order) // 2, len(order) - 1)])
    source = open_source(Many(), Numbers(), Fit(lr=1.0, steps=1, batch=1024), Run())
    batches = source.epoch(3, None)
    places, numbers = zip(*((place, b["number"]) for place, b in (next(batches) for _ in range(16))), strict=True)
    again = next(iter(source.epoch(3, places[14])))[1]["number"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    assert len(np.unique(seen)) == len(seen)
    assert abs(seen.mean() / 200_000_000 - 1) < 0.01  # as of numbers that are drawn evenly
    assert abs(float(np.corrcoef(seen[:-1], seen[1:])[0, 1])) < 0.01
    assert len(torch.cat(numbers).unique()) == 16 * 1024
    assert len({int(n) // 100_000 for n in torch.cat(numbers)}) == 8  # a shard of each lane
    assert torch.equal(again, numbers[15])
