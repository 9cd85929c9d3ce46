"""What a trained space does with parts of pictures: it names boxes, and its tokens say what lies where.

- Regions: a box is named right where its phrase is the nearest of all phrases of the data. The model is told the box
  by its prompter, where the training made one, and sees the crop elsewhere; beside it, all models see crops. A model
  with region slots also names a box by the slot whose own box has the highest IoU with it: it is not told the box.
- Dense probe: a linear classifier (logistic regression) on the frozen tokens of the image tower says of each cell
  which class the smallest box round its centre has, or "background". The value of a picture is the mean IoU of the
  classes that are in it, background included.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.ops import box_iou

from diptych.core import Backbone, MissingHook, PixelRecipe, Run, Table, Texts
from diptych.data.formats.regions import framed
from diptych.data.region_items import Regions
from diptych.evaluation.arms import Floats
from diptych.features.embed import embed
from diptych.features.frozen import Headed
from diptych.features.whole_and_cells import whole_and_cells
from diptych.metrics.ratio import counted
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_encoder import region_space
from diptych.nn.dense.region_slots import read_slots

REGIONS, CROPS, SLOTS, DENSE = "region_accuracy", "crop_accuracy", "slot_accuracy", "dense_probe_miou"
"""Parts of a measuring."""
BOXED = (REGIONS, CROPS, SLOTS)
"""Those that count boxes and hits."""
PROBED = 100
"""Training pictures that the probe learns from, at most."""
IGNORED = -1
"""Cells of crowds, which have no one class."""
PENALTY, TURNS = 0.1, 100
"""C of the probe, and its most iterations."""
AT_ONCE = 64


@dataclass(frozen=True)
class RegionTasks:
    """Pictures with boxes, for training a probe and for measuring.

    Args:
        train: pictures with "boxes" and "phrases".
        held: other ones, which are measured.
    """

    train: Table[Any]
    held: Table[Any]

    @property
    def phrases(self) -> tuple[str, ...]:
        """All phrases of the boxes, sorted: the names among which a box is named."""
        tables = (self.train, self.held)
        return tuple(sorted({p for t in tables for of_photo in t.columns["phrases"].values for p in of_photo}))

    def reached(self, space: Backbone, parts: Mapping[str, nn.Module], run: Run) -> dict[str, Floats]:
        """Return "region_accuracy", "crop_accuracy" and "slot_accuracy", (N, 2) boxes and hits among them of each of N
        pictures, whose boxes are resampled together, and "dense_probe_miou", (N,).

        "slot_accuracy" is absent where the space has no region slots, the last where it has neither an image tower nor
        maps.

        Args:
            space: after training; of heads on stored trunk vectors, the whole backbone with them is measured.
            parts: of the training, such as a prompter.
            run: device and batch.
        """
        space, names = _whole(space), self.phrases
        words = normalize(embed(space.text, Texts(names), run), dim=-1)
        crops = Regions.of([self.held], crowds=False)
        truth = torch.tensor([names.index(p) for p in crops.phrases])

        def hits(z: Tensor) -> Floats:
            right = (normalize(z, dim=-1) @ words.T).argmax(1).eq(truth).double().numpy()
            return counted(right, np.array(crops.owner, dtype=np.int64), len(self.held))

        out = {CROPS: hits(embed(space.image, crops, run))}
        prompter = next((p for p in parts.values() if isinstance(p, Prompter)), None)
        if prompter is None:
            out[REGIONS] = out[CROPS]
        else:
            prompted = region_space(space, prompter.eval())
            out[REGIONS] = hits(embed(prompted.image, Regions.of([self.held], cut=False, crowds=False), run))
        with contextlib.suppress(MissingHook):
            out[SLOTS] = hits(self._nearest_slots(space))
        with contextlib.suppress(MissingHook):
            out[DENSE] = self._probed(space)
        return out

    def facts(self, space: Backbone) -> dict[str, float]:
        """Return the number of measured boxes and of their names, and what calling all cells background reaches.

        The last is absent where the space has neither an image tower nor maps.
        """
        out: dict[str, float] = {"boxes": len(Regions.of([self.held], crowds=False)), "names": len(self.phrases)}
        try:
            _, truth = self._cells(_whole(space), self.held)
        except MissingHook:
            return out
        return {**out, "background_alone": float(np.mean([picture_iou(np.zeros_like(y), y) for y in truth]))}

    @torch.no_grad()
    def _nearest_slots(self, space: Backbone) -> Tensor:
        """Return the (n, D) embeddings of the slots whose boxes have the highest IoU with the n measured boxes."""
        nearest = list[Tensor]()
        for start in range(0, len(self.held), AT_ONCE):
            pictures = [self.held.items[i] for i in range(start, min(start + AT_ONCE, len(self.held)))]
            slots = read_slots(space, space.image.inputs(pictures))
            for i, picture in enumerate(pictures):
                boxes = self.held.columns["boxes"].values[start + i]
                inside, _ = framed(boxes.corners[~boxes.crowd], picture.size, space.spec.pixels)
                ious = box_iou(torch.from_numpy(inside).to(slots.boxes), slots.boxes[i])
                nearest.append(slots.regions[i][ious.argmax(1)].cpu())
        return torch.cat(nearest)

    def _classes(self, table: Table[Any]) -> list[NDArray[np.int64]]:
        """Return the class of each box of each picture: its label, or else the number of its phrase."""
        tables, names = (self.train, self.held), self.phrases
        labelled = all((boxes.labels >= 0).all() for t in tables for boxes in t.columns["boxes"].values)
        if labelled:
            return [boxes.labels for boxes in table.columns["boxes"].values]
        phrases = table.columns["phrases"].values
        return [np.array([names.index(p) for p in row], dtype=np.int64) for row in phrases]

    def _probed(self, space: Backbone) -> Floats:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        learnt = self.train.take(range(min(PROBED, len(self.train))))
        (x, y), (x_held, y_held) = (self._cells(space, t) for t in (learnt, self.held))
        mean, spread = x.mean((0, 1)), x.std((0, 1)) + 1e-6
        known = y.ravel() != IGNORED
        probe = LogisticRegression(C=PENALTY, max_iter=TURNS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many iterations for all, by its definition
            probe.fit(((x - mean) / spread).reshape(-1, x.shape[2])[known], y.ravel()[known])
        predicted = probe.predict(((x_held - mean) / spread).reshape(-1, x.shape[2])).reshape(y_held.shape)
        return np.array([picture_iou(a, b) for a, b in zip(predicted, y_held, strict=True)])

    @torch.no_grad()
    def _cells(self, space: Backbone, table: Table[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the (N, L, C) tokens of the pictures, and the (N, L) classes of their cells; 0 is background."""
        tokens, classes = [], []
        numbers = self._classes(table)
        for start in range(0, len(table), AT_ONCE):
            pictures = [table.items[i] for i in range(start, min(start + AT_ONCE, len(table)))]
            _, cells = whole_and_cells(space, space.image.inputs(pictures))
            grid = (int(cells.shape[2]), int(cells.shape[3]))
            tokens.append(cells.flatten(2).transpose(1, 2).cpu().numpy())
            for i, picture in enumerate(pictures, start):
                boxes = table.columns["boxes"].values[i]
                classes.append(cell_classes(boxes, numbers[i], picture.size, space.spec.pixels, grid))
        return np.concatenate(tokens), np.stack(classes)


def _whole(space: Backbone) -> Backbone:
    """Return the backbone that heads are of: crops and cells have no stored trunk vectors."""
    return space.whole if isinstance(space, Headed) else space


def cell_classes(
    boxes: Any, numbers: NDArray[np.int64], size: tuple[int, int], recipe: PixelRecipe, grid: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the (h w,) class of each cell, row by row: 1 + that of the smallest box round its centre, or 0.

    Args:
        boxes: ``Boxes`` of the picture, in pixels; cells of a crowd are ``IGNORED``.
        numbers: (n,) class of each box.
        size: (width, height) of the picture.
        recipe: of the tower.
        grid: (h, w).

    Example:
        >>> from diptych.data.formats.regions import boxes
        >>> recipe = PixelRecipe(32, (0.5,) * 3, (0.5,) * 3)
        >>> left = boxes([[0.0, 0.0, 10.0, 20.0]], "xyxy", [4])
        >>> cell_classes(left, left.labels, (20, 20), recipe, (2, 2)).tolist()
        [5, 0, 5, 0]
    """
    inside, _ = framed(boxes.corners, size, recipe)
    y, x = ((np.arange(n) + 0.5) / n for n in grid)
    out = np.zeros(grid, dtype=np.int64)
    for k in np.argsort(-(inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1]), kind="stable"):
        x0, y0, x1, y1 = inside[k]
        there = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None]
        out[there] = IGNORED if boxes.crowd[k] else 1 + numbers[k]
    return out.ravel()


def picture_iou(answers: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Return the mean IoU of the classes of one picture.

    Args:
        answers: (L,) answers.
        truth: (L,) classes; ``IGNORED`` ones do not count.

    Source: Wang et al. 2023, "Revisiting Evaluation Metrics for Semantic Segmentation" (mIoU of single images).

    Example:
        >>> picture_iou(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]))
        0.75
    """
    known = truth != IGNORED
    a, b = answers[known], truth[known]
    shares = [float(((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum()) for k in np.unique(b)]
    return float(np.mean(shares)) if shares else 1.0
