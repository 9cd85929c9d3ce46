"""AnomalyDINO-style detection compares each patch of an image with all patches of a few normal photos, and of these
turned.

    d(u)  = min over r in R of (1 - cos(z(u), r))
    score = mean of the largest 1 % of d(u), at least one

u: cell of the last dense map, (h, w)
z(u): (C,) feature of cell u
R: features of all cells of k normal photos, each in 1, 2 or 4 quarter turns
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Anomaly, Detector, Evidence, FittedDetector, Kit, Run, Samples, Space
from diptych.core.ranges import at_least, between, check, wrong
from diptych.data.evidence import normal_photos
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import squashed

_ROWS = 4096  # cells whose distances are computed at once


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


@dataclass(frozen=True)
class PatchMemory(Detector):
    """Remember the patches of a few normal photos in several turns, and measure how far those of an image are.

    Use it where there are 1 to 16 normal photos of a thing that lies at any angle. Where it always stands upright take
    ``turns=1``: turned parts may be the anomaly.

    Args:
        shots: k, normal photos that are remembered, drawn by the seed, >= 1; None: all of them.
        turns: quarter turns of each, 1, 2 or 4.
        tail: share of the cells whose mean distance is the score, in (0, 1]; 0.01 (the paper's).
        side: of the square that the image is resized to, in pixels; None: the backbone's own.

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

    def __post_init__(self) -> None:
        check(self, at_least(1), "shots", "side")
        if self.turns not in (1, 2, 4):
            raise wrong(self, "turns", "1, 2 or 4")
        check(self, between(0, 1, "(]"), "tail")

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
                turned = [x.rot90(turn, (2, 3)) for turn in range(0, 4, 4 // self.turns)]
                remembered += [_cells(space, view, run).flatten(0, 1) for view in turned]
                bar.advance()
        return FittedPatchMemory(space, torch.cat(remembered), self.tail, self.side)


@dataclass(frozen=True)
class FittedPatchMemory(FittedDetector):
    """Remembered patches.

    Args:
        space: gives the maps.
        memory: (M, C) unit features.
        tail, side: see ``PatchMemory``.
    """

    space: Space
    memory: Tensor
    tail: float
    side: int | None

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the score of each image, in [0, 2], and the distances of its cells."""
        memory = self.memory.to(run.device)
        for i in range(len(images)):
            image = images[i]
            z = _cells(self.space, squashed(image, self.space.spec.pixels, self.side), run)
            distances = cosine_distance(z.flatten(0, 1).to(memory), memory).reshape(z.shape[:2]).cpu()
            yield Anomaly(tail_mean(distances, self.tail), distances, (image.height, image.width))


def _cells(space: Space, x: Tensor, run: Run) -> Tensor:
    """Return the (h, w, C) unit features of (1, 3, H, W) normalised pixels, on the CPU."""
    x = x.to(run.device)
    with inference(run):
        m = space.dense().maps(x)[-1][0]
    return F.normalize(m.float().permute(1, 2, 0), dim=-1).cpu()
