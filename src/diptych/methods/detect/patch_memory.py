"""AnomalyDINO-style detection compares each patch of an image with all patches of a few normal photos, and of these
turned.

    d(u)  = min over r in R of (1 - cos(z(u), r))
    score = mean of the largest 1 % of d(u), at least one

u: cell of the last dense map, (h, w); d(u) = 0 where a mask finds background
z(u): (C,) feature of cell u
R: features of all cells of k normal photos, each in 1, 2, 4 or 8 turns
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Anomaly, Detector, Evidence, FittedDetector, Kit, Run, Samples, Space
from diptych.core.ranges import above, at_least, between, check, wrong
from diptych.data.evidence import normal_photos
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import squashed

_ROWS = 4096  # cells whose distances are computed at once


def unit_features(z: Tensor) -> Tensor:
    """Return the (n, C + 1) unit features of (n, C) features. The last number is 1 where all others are 0, as those of
    a blank part are behind a ReLU: such a cell is at distance 0 from another one, and at 1 from all the rest.

    Example:
        >>> unit_features(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000, 0.0000],
                [0.0000, 0.0000, 1.0000]])
    """
    return torch.cat([F.normalize(z, dim=1), (z == 0).all(1, keepdim=True).to(z)], dim=1)


def cosine_distance(z: Tensor, memory: Tensor) -> Tensor:
    """Return the (n,) distances d(u), in [0, 2].

    Args:
        z: (n, C) unit features of cells.
        memory: (M, C) unit features that are remembered.
    """
    return torch.cat([1 - (part @ memory.T).amax(1) for part in torch.split(z, _ROWS)])


def tail_mean(values: Tensor, share: float) -> float:
    """Return the mean of the largest ``share`` of values, at least one of them.

    Args:
        values: any size.
        share: in (0, 1].
    """
    flat = values.flatten()
    return float(flat.topk(max(1, math.floor(share * len(flat)))).values.mean())


def turned(x: Tensor, turns: int) -> list[Tensor]:
    """Return (n, C, S, S) images in evenly spaced turns, the first as they are. Corners mirror what lies inside.

    Args:
        x: (n, C, S, S).
        turns: 1, 2, 4 or 8; of 8, four are quarter turns, which lose no pixel.
    """
    quarters = [x.rot90(k, (2, 3)) for k in range(0, 4, max(1, 4 // turns))]
    if turns < 8:
        return quarters
    half = math.sqrt(0.5)
    angle = torch.tensor([[half, -half, 0], [half, half, 0]], dtype=x.dtype).expand(len(x), 2, 3)
    grid = F.affine_grid(angle, list(x.shape), align_corners=True)
    eighth = F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)
    return [*quarters, *(eighth.rot90(k, (2, 3)) for k in range(4))]


def foreground_of(z: Tensor, threshold: float) -> NDArray[np.bool_]:
    """Return the (h, w) cells of the thing: those whose first principal component is above a threshold, in the
    direction that leaves more than 35 % of the middle (from a fifth to four fifths of each side), grown by a cell, with
    holes closed. Where no cell is, all are.

    Args:
        z: (h, w, C) features, not of unit length.
        threshold: in units of z, > 0.

    Example:
        >>> z = torch.zeros(10, 10, 2)
        >>> z[3:7, 3:7, 0] = 9.0  # the thing
        >>> foreground_of(z, threshold=3.0).astype(int).sum(0)
        array([0, 0, 6, 6, 6, 6, 6, 6, 0, 0])
    """
    from scipy.ndimage import binary_dilation, binary_erosion
    from sklearn.decomposition import PCA

    h, w, _ = z.shape
    cells = z.flatten(0, 1).double().numpy()
    if not (cells != cells[0]).any():
        return np.ones((h, w), dtype=bool)
    first = PCA(1, svd_solver="randomized", random_state=0).fit_transform(cells).reshape(h, w)
    mask: NDArray[np.bool_] = first > threshold
    middle = mask[int(0.2 * h) : int(0.8 * h), int(0.2 * w) : int(0.8 * w)]
    if middle.sum() <= 0.35 * middle.size:
        mask = first < -threshold
    around = np.ones((3, 3), dtype=bool)
    grown = binary_dilation(mask, around, iterations=2)
    closed: NDArray[np.bool_] = binary_erosion(grown, around, border_value=1)
    return closed if closed.any() else ~closed


@dataclass(frozen=True)
class PatchMemory(Detector):
    """Remember the patches of a few normal photos in several turns, and measure how far those of an image are.

    Use it where there are 1 to 16 normal photos of a thing that lies at any angle. Where it always stands upright take
    ``turns=1``: turned parts may be the anomaly.

    Args:
        shots: k, normal photos that are remembered, drawn by the seed, >= 1; None: all of them.
        turns: of each, evenly spaced, 1, 2, 4 or 8 (the paper's).
        tail: share of the cells whose mean distance is the score, in (0, 1]; 0.01 (the paper's).
        side: of the square that the image is resized to, in pixels; None: the backbone's own (448 and 672).
        foreground: threshold of the first principal component of an image's features, above which its cells are the
            thing, in units of the features, > 0 (10, of DINOv2's); the others have distance 0. None: no cell is
            background.

    Raises:
        UsageError: a setting is out of its range.

    Source: Damm et al. 2024, section 3.

    Example:
        >>> import torch
        >>> from diptych.methods.detect.patch_memory import cosine_distance, tail_mean
        >>> d = cosine_distance(torch.eye(3), memory=torch.eye(3)[:2])  # the third cell resembles neither
        >>> d
        tensor([0., 0., 1.])
        >>> tail_mean(d, share=0.01)
        1.0
    """

    shots: int | None = 16
    turns: int = 4
    tail: float = 0.01
    side: int | None = None
    foreground: float | None = None

    def __post_init__(self) -> None:
        check(self, at_least(1), "shots", "side")
        if self.turns not in (1, 2, 4, 8):
            raise wrong(self, "turns", "1, 2, 4 or 8")
        check(self, between(0, 1, "(]"), "tail")
        check(self, above(0), "foreground")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedPatchMemory:
        """Remember the patches of normal photos of train.

        Raises:
            MissingPart: the kit has no space.
            MissingHook: the space has no dense maps.
            MissingEvidence: train is missing.
            DataError: there is no normal photo.
            UnreadableItem: a photo cannot be read.
        """
        space = kit.need(Space)
        space.dense()
        photos = normal_photos(evidence).items
        order = torch.randperm(len(photos), generator=run.generator("patch-memory")).tolist()
        remembered: list[Tensor] = []
        with run.track("remember", len(order[: self.shots])) as bar:
            for i in sorted(order[: self.shots]):
                x = squashed(photos[i], space.spec.pixels, self.side)
                views = turned(x, self.turns)
                remembered += [unit_features(_cells(space, view, run).flatten(0, 1)) for view in views]
                bar.advance()
        return FittedPatchMemory(space, torch.cat(remembered), self.tail, self.side, self.foreground)


@dataclass(frozen=True)
class FittedPatchMemory(FittedDetector):
    """Remembered patches.

    Args:
        space: gives the maps.
        memory: (M, C + 1) unit features.
        tail, side, foreground: see ``PatchMemory``.
    """

    space: Space
    memory: Tensor
    tail: float
    side: int | None
    foreground: float | None = None

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the score of each image, in [0, 2], and the distances of its cells."""
        memory = self.memory.to(run.device)
        for i in range(len(images)):
            image = images[i]
            z = _cells(self.space, squashed(image, self.space.spec.pixels, self.side), run)
            unit = unit_features(z.flatten(0, 1)).to(memory)
            distances = cosine_distance(unit, memory).reshape(z.shape[:2]).cpu()
            if self.foreground is not None:
                distances = distances * torch.from_numpy(foreground_of(z, self.foreground))
            yield Anomaly(tail_mean(distances, self.tail), distances, (image.height, image.width))


def _cells(space: Space, x: Tensor, run: Run) -> Tensor:
    """Return the (h, w, C) features of (1, 3, H, W) normalised pixels, on the CPU."""
    x = x.to(run.device)
    with inference(run):
        m = space.dense().maps(x)[-1][0]
    return m.float().permute(1, 2, 0).cpu()
