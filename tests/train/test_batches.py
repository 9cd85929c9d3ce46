"""Streams of files behind the one loop's batches: workers, processes, and going on after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from torch import Tensor, nn

from diptych.core.data import Stream
from diptych.core.errors import UnreadableItem
from diptych.core.run import Run
from diptych.core.train import Clock, ParamGroup, Row, Trainee
from diptych.data.formats.pairs import open_pairs
from diptych.data.formats.tars import open_tars
from diptych.train.batches import open_source
from diptych.train.schedule import Fit
from tests.support.image_files import gradient, photo


class Pairs(Trainee):
    def module(self) -> nn.Module:
        return nn.Identity()

    def groups(self) -> list[ParamGroup]:
        return []

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        pixels = torch.from_numpy(np.array(row.item.image())).float().mean()
        return {"image": pixels, "text": row.item.text(), "draw": torch.rand((), generator=g)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        return {}


def streams(root: Path) -> dict[str, Stream[Any]]:
    lines = ["filepath,title"]
    for shard in range(2):
        with webdataset.TarWriter(str(root / f"{shard}.tar")) as writer:
            for i in range(7):
                path = photo(root / f"p/{shard}{i}.png", 10 * shard + i)
                lines.append(f"p/{shard}{i}.png,text {shard}{i}")
                writer.write({"__key__": f"{shard}{i}", "png": path.read_bytes(), "txt": f"text {shard}{i}"})
    (root / "t.csv").write_text("\n".join(lines))
    return {"tars": open_tars(root / "{0..1}.tar"), "pairs": open_pairs(root / "t.csv")}


def texts(
    stream: Stream[Any], workers: int, last: int | None = None
) -> list[tuple[int, list[str], list[float], list[float]]]:
    source = open_source(stream, Pairs(), Fit(lr=1.0, steps=4, batch=4), Run(workers=workers))
    return [(place, b["text"], b["image"].tolist(), b["draw"].tolist()) for place, b in source.epoch(0, last)]


@pytest.mark.parametrize("kind", ["tars", "pairs"])
def test_batches_do_not_depend_on_workers_or_on_a_stop(tmp_path: Path, kind: str) -> None:
    stream = streams(tmp_path)[kind]
    whole = texts(stream, 0)
    assert [t for _, batch, _, _ in whole for t in batch] == [f"text {s}{i}" for s in range(2) for i in range(7)][:12]
    assert texts(stream, 2) == whole
    for cut in range(3):
        assert texts(stream, 0, whole[cut][0]) == whole[cut + 1 :]


def test_both_streams_give_the_same_pairs(tmp_path: Path) -> None:
    both = streams(tmp_path)
    assert [b[1:3] for b in texts(both["tars"], 0)] == [b[1:3] for b in texts(both["pairs"], 0)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_in_the_training_process(tmp_path: Path, workers: int) -> None:
    stream = streams(tmp_path)["pairs"]
    gradient().save(tmp_path / "p/00.png")
    (tmp_path / "p/03.png").write_bytes(b"words")
    with pytest.raises(UnreadableItem, match=r"03\.png: not a picture"):
        texts(stream, workers)
