"""The bench of quality captions: captions of photos whose share of right ones is known, and a dense transfer.

People's captions stand in for both kinds. The original caption of a photo is one person's, and three in ten belong to
another photo. Its synthetic captions are those of two other people, which stand in for a captioner's. Unseen photos are
searched by the captions of the last two.

The dense transfer is that of a trained linear head: it projects each cell of the last map of the frozen image tower,
and a linear classifier learns the class of a cell from a share of the labelled images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier

from diptych.core import Backbone, Column, Run, Table, Trained
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import Floats
from diptych.evaluation.boards.tune import TuneBench
from diptych.evaluation.datasets import open_set
from diptych.features.frozen import Headed
from diptych.metrics.segmentation import IGNORE
from diptych.nn.dense.label_maps import squashed
from proofs.benches.training.pairs import FRESH, with_captions
from proofs.trial import hash_of_words

WRONG = 0.3
"""Share of the original captions that belong to another photo."""
DRAW = 7
"""Seed of the draw of these photos."""
MASKS = "msrc_small"
"""Photos with label maps: a linear classifier learns from train, and is measured on val."""
SHARES = (0.01, 0.1, 1.0)
"""Shares of the labelled images."""


def cells_right(share: float) -> str:
    """Return the name of the part of a share of labelled images."""
    return f"cells_right_at_{100 * share:g}_percent"


@dataclass(frozen=True)
class Cells:
    """The cells of N photos.

    Args:
        maps: (N, h, w, C) trunk vectors of the cells.
        labels: (N, h, w) most frequent class of the pixels of each cell, 255 where all are void.
    """

    maps: torch.Tensor
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, space: Headed, table: Table[Any]) -> Cells:
        """Return the cells of photos with label maps; a photo is squashed to the tower's square."""
        dense, side = space.dense(), space.whole.image.size or 224
        pictures = torch.cat([squashed(table.items[i], space.spec.pixels, side) for i in range(len(table))])
        with torch.inference_mode():
            maps = torch.cat([dense.maps(some)[-1] for some in torch.split(pictures, 16)]).permute(0, 2, 3, 1)
        grid = (int(maps.shape[1]), int(maps.shape[2]))
        masks = [np.asarray(table.columns["mask"].values[i]) for i in range(len(table))]
        return cls(maps.clone(), np.stack([majority(mask, grid) for mask in masks]))


def majority(mask: NDArray[Any], grid: tuple[int, int]) -> NDArray[np.int64]:
    """Return the most frequent class of the pixels of each cell, 255 where all are void; of ties the lowest.

    Args:
        mask: (H, W) classes, 255 for void.
        grid: (h, w).
    """
    rows, columns = (np.arange(n) * g // n for n, g in zip(mask.shape, grid, strict=True))
    cell = rows[:, None] * grid[1] + columns[None]
    known = mask != IGNORE
    counts = np.zeros((grid[0] * grid[1], IGNORE), dtype=np.int64)
    np.add.at(counts, (cell[known], mask[known].astype(np.int64)), 1)
    return np.where(counts.any(1), counts.argmax(1), IGNORE).reshape(grid)


def transfer(
    known: Cells, test: Cells, head: torch.nn.Module, share: float, g: np.random.Generator
) -> tuple[Floats, float]:
    """Return the share of cells that are classified right in each of N photos, and the mean IoU over the classes.

    Args:
        known: labelled photos; ``share`` of them, at least one, teach a ridge classifier of projected cells.
        test: N photos.
        head: (..., C) -> (..., D).
        share: of the labelled photos.
        g: draws them.
    """
    count = max(1, round(share * len(known.labels)))
    rows = g.permutation(len(known.labels))[:count]
    with torch.no_grad():
        x, z = (head(maps).flatten(0, 2).numpy() for maps in (known.maps[rows], test.maps))
    y, right = known.labels[rows].ravel(), test.labels.ravel()
    seen = y != IGNORE
    if len(np.unique(y[seen])) > 1:
        guessed = RidgeClassifier().fit(x[seen], y[seen]).predict(z)
    else:
        guessed = np.full(len(z), y[seen][0] if seen.any() else IGNORE)
    counted, hits = (right != IGNORE).reshape(len(test.labels), -1), (guessed == right).reshape(len(test.labels), -1)
    iou = [
        ((guessed == c) & (right == c)).sum() / (((guessed == c) & (right != IGNORE)) | (right == c)).sum()
        for c in np.unique(right[right != IGNORE])
    ]
    return (hits & counted).sum(1) / counted.sum(1).clip(min=1), float(np.mean(iou))


@dataclass
class CaptionBench(TuneBench):
    """Heads that learn from captions of known quality; see the module.

    The parts of a measuring are also "cells_right_at_1_percent" and so on, (R, N) shares of the cells of N photos, and
    "miou_at_1_percent" and so on, (R, 1).

    Args:
        known, test: cells of the dense transfer.
    """

    known: Cells | None = field(default=None, kw_only=True)
    test: Cells | None = field(default=None, kw_only=True)

    def _reached(self, trained: Trained, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        values, means, parts = super()._reached(trained, run)
        assert self.known is not None, "open_quality gives the cells"
        assert self.test is not None, "open_quality gives the cells"
        space: Any = trained.space
        head, out = space.module().linear["image"], dict(parts)
        for share in SHARES:
            g = np.random.default_rng(run.integer(f"labelled photos/{share}"))
            right, iou = transfer(self.known, self.test, head, share, g)
            out |= {cells_right(share): right, f"miou_at_{100 * share:g}_percent": np.array([iou])}
        return values, means, out


def captioned_twice(table: Table[Any]) -> Table[Any]:
    """Return the table with the columns "captions", of which ``WRONG`` are another photo's, and "synthetic"."""
    captions = [tuple(texts) for texts in table.columns["captions"].values]
    rng = np.random.default_rng(DRAW)
    wrong = rng.permutation(len(captions))[: round(WRONG * len(captions))]
    first = [texts[0] for texts in captions]
    for i, j in zip(wrong, np.roll(wrong, 1), strict=True):
        first[i] = captions[j][0]
    synthetic = Column("captions", tuple(texts[1:3] for texts in captions))
    changed = with_captions(table, [(t,) for t in first])
    return Table(changed.items, {**changed.columns, "synthetic": synthetic})


def permuted_synthetic(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the synthetic captions of each photo given to another."""
    order = np.random.default_rng(run.integer("captions")).permutation(len(table))
    values = table.columns["synthetic"].values
    return Table(table.items, {**table.columns, "synthetic": Column("captions", tuple(values[i] for i in order))})


def open_quality(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> CaptionBench:
    """Open photos with five captions, split val held out, and photos with label maps; own heads score captions."""
    whole = open_data(present(name, "captions.csv"), need="captions", text="caption_*")
    labelled = open_set(str(present(MASKS)), "masks")
    held = whole.split("val")
    held = with_captions(held, [tuple(texts)[3:5] for texts in held.columns["captions"].values])
    data: LabelledData = replace(whole, splits={"train": captioned_twice(whole.split("train")), "val": held})
    bench = CaptionBench(data, backbone, FRESH, run, seeds, part="recall_at_1", metric="value")
    space = bench.space
    assert isinstance(space, Headed)  # heads learn here
    bench.kit = {"scorer": space}
    bench.known, bench.test = (Cells.of(space, labelled.split(split)) for split in ("train", "val"))
    texts = [t for table in data.splits.values() for c in table.columns.values() for texts in c.values for t in texts]
    bench.report = {
        "data_hash": hash_of_words(whole.split("train").items, texts),
        "split": "val",
        "items": len(bench.held_out),
        "train": len(bench.train),
        "wrong": WRONG,
        "labelled": MASKS,
        "labelled_train": len(bench.known.labels),
        "labelled_items": len(bench.test.labels),
        "trains": "linear heads on frozen towers",
    }
    return bench
