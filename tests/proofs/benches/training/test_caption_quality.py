"""The bench of quality captions, on coloured squares and a small random CLIP: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.core import Column, Run, Table, Texts
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import Training
from diptych.methods.pretrain.quality_captions import QualityCaptions
from proofs.benches.training import caption_quality
from proofs.benches.training.caption_quality import (
    Cells,
    captioned_twice,
    cells_right,
    majority,
    open_quality,
    permuted_synthetic,
    transfer,
)
from proofs.benches.training.pairs import FRESH, NewHeads
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares


def captioned(count: int = 20) -> Table:
    texts = tuple(tuple(f"photo {i} by {k}" for k in range(5)) for i in range(count))
    return Table(Texts(tuple(map(str, range(count)))), {"captions": Column("captions", texts)})


def test_three_in_ten_originals_are_of_another_photo_and_the_further_ones_are_right() -> None:
    table = captioned_twice(captioned())
    right = [own == (f"photo {i} by 0",) for i, own in enumerate(table.columns["captions"].values)]
    assert right.count(False) == 6
    assert sorted(table.columns["captions"].values) == sorted((f"photo {i} by 0",) for i in range(20))
    assert table.columns["synthetic"].values[3] == ("photo 3 by 1", "photo 3 by 2")
    spoilt = permuted_synthetic(table, Run(seed=1))
    assert spoilt.columns["captions"] is table.columns["captions"]
    assert spoilt.columns["synthetic"].values != table.columns["synthetic"].values


def test_the_class_of_a_cell_is_the_most_frequent_one() -> None:
    mask = np.array([[0, 0, 1, 1], [0, 2, 1, 1], [255, 255, 3, 2], [255, 255, 255, 2]])
    assert majority(mask, (2, 2)).tolist() == [[0, 1], [255, 2]]
    assert majority(np.full((5, 7), 4), (3, 3)).tolist() == [[4] * 3] * 3


def cells(count: int, seed: int) -> Cells:
    """Return cells whose first number tells their class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, 2, 2))
    labels[:, 0, 0] = 255
    maps = torch.tensor(rng.normal(0, 0.1, (count, 2, 2, 3)), dtype=torch.float32)
    maps[..., 0] += torch.tensor(np.where(labels == 255, 0, labels))
    return Cells(maps, labels)


def test_a_linear_classifier_learns_from_a_share_of_the_photos() -> None:
    known, asked, head = cells(30, 0), cells(10, 1), torch.nn.Identity()
    right, iou = transfer(known, asked, head, 1.0, np.random.default_rng(0))
    assert right.tolist() == [1.0] * 10
    assert iou == 1.0
    zero = torch.nn.Linear(3, 2)
    torch.nn.init.zeros_(zero.weight)
    blind, low = transfer(known, asked, zero, 1.0, np.random.default_rng(0))
    assert blind.mean() < 0.9
    assert low < 0.6
    few, _ = transfer(known, asked, head, 0.01, np.random.default_rng(0))
    assert 0 < few.mean() <= 1


def test_heads_are_measured_by_captions_and_by_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_clip(tmp_path / "clip", "convnext")
    items, names, lines = squares(30).items, list(COLOURS), ["path,split," + ",".join(f"caption_{k}" for k in range(5))]
    for folder in ("said/x", "masks/images", "masks/masks"):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(30):
        items[i].save(tmp_path / f"said/x/{i}.png")
        texts = ",".join(f"{names[i % 5]} {i} {k}" for k in range(5))
        lines.append(f"x/{i}.png,{'train' if i < 20 else 'val'},{texts}")
    (tmp_path / "said/captions.csv").write_text("\n".join(lines))
    rows = ["path,mask,split"]
    for i in range(10):
        items[i].save(tmp_path / f"masks/images/{i}.png")
        Image.fromarray(np.full((32, 32), i % 5, dtype=np.uint8)).save(tmp_path / f"masks/masks/{i}.png")
        rows.append(f"images/{i}.png,masks/{i}.png,{'train' if i < 5 else 'val'}")
    (tmp_path / "masks/labels.csv").write_text("\n".join(rows))
    (tmp_path / "masks/classes.csv").write_text("value,name\n" + "\n".join(f"{k},{n}" for k, n in enumerate(names)))
    monkeypatch.setattr(caption_quality, "MASKS", str(tmp_path / "masks"))
    monkeypatch.setattr(caption_quality, "FRESH", replace(FRESH, batch=10, steps=3))
    bench = open_quality(str(tmp_path / "said"), load(f"local:{tmp_path / 'clip'}"), Run(workers=1), (1, 2))
    assert all(len(own) == 2 for own in bench.held_out.columns["captions"].values)
    measured = bench.measure(Arm(Training(QualityCaptions(keep=0.9), start=NewHeads())))
    assert measured.part(cells_right(0.1)).values.shape == (2, 5)
    assert measured.part("recall_at_1").values.shape == (2, 10)
    assert {"miou_at_1_percent", "miou_at_10_percent", "miou_at_100_percent"} <= set(measured.others)
    assert (bench.facts["train"], bench.facts["labelled_train"]) == (20, 5)
