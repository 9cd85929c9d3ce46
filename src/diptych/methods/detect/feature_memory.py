"""Feature memory marks a cell of an image as anomalous if no cell of a normal photo resembles it.

    z(u)   = [ normalise(avg3x3(map_s)(u)) for s in strides ],  then normalised
    map(u) = min over r of (1 - cos(z(u), r)) / 2
    score  = max over u of map(u)

Sizes: h x w cells, C features per cell, M remembered cells
u: cell of the finest grid, (h, w)
map_s: (C_s, h_s, w_s) dense map of stride s;  avg3x3: mean over a cell and its neighbours
z(u): (C,) feature of cell u, C the sum of the C_s; coarser maps are upsampled
r: (C,) feature of a remembered cell of a normal photo
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Anomaly, Backbone, Dense, Detector, Evidence, FittedDetector, Kit, Run, Samples
from diptych.core.ranges import at_least, check
from diptych.data.evidence import normal_photos
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import squashed

ROWS = 1024
"""Remembered rows that are compared at once, so that the products stay in the processor's cache."""


def cell_features(dense: Dense, x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return (h, w, C) unit features of the cells of an image, from its maps of some strides.

    Args:
        dense: of the backbone.
        x: (1, 3, H, W) normalised pixels.
        strides: which maps are taken. If the backbone has none of them, its last map is.
    """
    maps = dict(zip(dense.strides, dense.maps(x), strict=True))
    chosen = [maps[s].float() for s in strides if s in maps] or [maps[dense.strides[-1]].float()]
    smooth = [F.normalize(F.avg_pool2d(m, 3, 1, 1, count_include_pad=False), dim=1) for m in chosen]
    grid = smooth[0].shape[2:]
    joined = torch.cat([F.interpolate(m, grid, mode="bilinear", align_corners=False) for m in smooth], dim=1)
    return F.normalize(joined[0].permute(1, 2, 0), dim=-1)


def nearest_distance(z: Tensor, memory: Tensor) -> Tensor:
    """Return the (n,) distances (1 - largest cosine) / 2, in [0, 1], to the nearest row of the memory.

    Args:
        z: (n, C) unit rows.
        memory: (M, C) unit rows.
    """
    largest = [(z @ part.T).amax(1) for part in torch.split(memory, ROWS)]
    return (1 - torch.stack(largest).amax(0)) / 2


@dataclass(frozen=True)
class FeatureMemory(Detector):
    """Remember cells of normal photos, and measure the distance of each cell to the nearest of them.

    Args:
        cells: cells that are remembered, at most, >= 1: equally many of each photo, drawn at random (default ours).
        strides: of the maps, in pixels, finest first (default ours). A backbone with none of them gives its last map.
        side: of the square that the image is resized to, in pixels. None: the backbone's own.

    Raises:
        UsageError: a number is below 1, or there is no stride.

    Source: Roth et al. 2022, section 3, without the coreset; Jeong et al. 2023, section 4.3, for the distance.

    Example:
        >>> import torch
        >>> from diptych.methods.detect.feature_memory import nearest_distance
        >>> memory = torch.eye(3)[:2]  # two remembered cells
        >>> nearest_distance(torch.eye(3), memory)  # the third cell resembles neither
        tensor([0.0000, 0.0000, 0.5000])
    """

    cells: int = 20_000
    strides: tuple[int, ...] = (8, 16)
    side: int | None = None

    def __post_init__(self) -> None:
        check(self, at_least(1), "cells", "strides", "side")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedFeatureMemory:
        """Remember cells of the normal photos of train.

        Raises:
            MissingHook: the backbone has no dense maps.
            MissingEvidence: train is missing.
            DataError: there is no normal photo.
            UnreadableItem: a photo cannot be read.
        """
        backbone = kit.need(Backbone)
        backbone.dense()
        photos = normal_photos(evidence).items
        quota = max(1, self.cells // len(photos))
        generator = run.generator("feature-memory")
        drawn_cells = []
        with run.track("remember", len(photos)) as bar:
            for i in range(min(len(photos), self.cells)):
                z = self._cells(backbone, photos[i], run).flatten(0, 1)
                drawn_cells.append(z[torch.randperm(len(z), generator=generator)[:quota]])
                bar.advance()
        return FittedFeatureMemory(backbone, torch.cat(drawn_cells), self)

    def _cells(self, backbone: Backbone, image: Any, run: Run) -> Tensor:
        """Return (h, w, C) cell features of an image, on the CPU."""
        x = squashed(image, backbone.spec.pixels, self.side).to(run.device)
        with inference(run):
            return cell_features(backbone.dense(), x, self.strides).cpu()


@dataclass(frozen=True)
class FittedFeatureMemory(FittedDetector):
    """Remembered cells.

    Args:
        memory: (M, C) unit rows.
        method: how cells are computed.
    """

    backbone: Backbone
    memory: Tensor
    method: FeatureMemory

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the largest distance of each image, in [0, 1], and the distances of its cells."""
        memory = self.memory.to(run.device)
        for i in range(len(images)):
            image = images[i]
            z = self.method._cells(self.backbone, image, run)
            distances = nearest_distance(z.flatten(0, 1).to(memory), memory).reshape(z.shape[:2]).cpu()
            yield Anomaly(float(distances.max()), distances, (image.height, image.width))
