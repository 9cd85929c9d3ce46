"""Regions of a row: which are drawn, and how those of a batch stand one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from diptych.core import Column, DataError, Row, Table
from diptych.data.formats.regions import boxes
from diptych.train.regions import RegionTrainee, drawn_regions, has_regions
from tests.train.test_pair import PIXELS, RUN, small, squares

WIDE = Image.new("RGB", (40, 20))
BOXES = [[10, 0, 20, 20], [20, 0, 30, 10], [0, 0, 9, 20], [12, 2, 28, 18], [12, 2, 12, 18]]
PHRASES = ("left", "right", "cropped away", "middle", "no area")


def row(crowd=(), phrases=PHRASES, corners=BOXES) -> Row:
    own = boxes(corners, "xyxy", [-1] * len(corners), crowd)
    return Row(WIDE, 3, "k", {"boxes": own, "phrases": phrases, "captions": ("a picture",)})


def with_regions(count: int = 10, each: int = 2) -> Table:
    """Squares with ``each`` regions, halves of the picture, in every row but the first."""
    table = squares(count)
    halves = [[0, 0, 16, 32], [16, 0, 32, 32]][:each]
    own = [boxes(halves if i else [], "xyxy", [-1] * (each if i else 0)) for i in range(count)]
    said = [tuple(f"{side} of {i % 5}" for side in ("left", "right")[:each]) if i else () for i in range(count)]
    columns = {"boxes": Column("boxes", tuple(own)), "phrases": Column("captions", tuple(said))}
    return Table(table.items, {**table.columns, **columns})


def test_regions_that_the_tower_sees_in_its_frame() -> None:
    found, said = drawn_regions(row(), replace(PIXELS, resize="shortest"), 4, None)
    assert said == ("left", "right", "middle")
    torch.testing.assert_close(found, torch.tensor([[0, 0, 0.5, 1], [0.5, 0, 1, 0.5], [0.1, 0.1, 0.9, 0.9]]))
    assert drawn_regions(row(crowd=[True, False, False, False, False]), PIXELS, 4, None)[1][0] == "right"
    assert drawn_regions(row(), PIXELS, 1, None)[1] == ("left",)
    assert drawn_regions(row(corners=[], phrases=()), PIXELS, 2, None)[0].shape == (0, 4)
    with pytest.raises(DataError, match="Row 3 has 5 boxes and 1 phrases"):
        drawn_regions(row(phrases=("one",)), PIXELS, 2, None)


def test_regions_are_drawn_evenly_and_repeatably() -> None:
    counts = dict.fromkeys(PHRASES, 0)
    for k in range(200):
        _, said = drawn_regions(row(), replace(PIXELS, resize="squash"), 2, torch.Generator().manual_seed(k))
        assert len(said) == 2
        for phrase in said:
            counts[phrase] += 1
    assert counts.pop("no area") == 0
    assert all(70 < n < 130 for n in counts.values())


def test_a_batch_lists_the_regions_of_its_rows() -> None:
    trainee, table = RegionTrainee(small(), RUN, most=2), with_regions(3)
    rows = [Row(table.items[i], i, str(i), {n: c.values[i] for n, c in table.columns.items()}) for i in range(3)]
    sized = [replace(r, item=table.items[r.index]) for r in rows]
    batch = trainee.collate([trainee.views(r, RUN.generator("x")) for r in sized])
    assert batch["owner"].tolist() == [1, 1, 2, 2]
    e, cells, said = trainee.embed_regions(batch)
    assert said.shape == (4, e.vectors["image"].shape[1])
    assert cells.shape[0] == 3
    none = trainee.collate([trainee.views(sized[0], RUN.generator("x"))] * 2)
    assert "phrases" not in none
    assert trainee.embed_regions(none)[2].shape[0] == 0
    assert has_regions(table)
    assert not has_regions(squares(3))
