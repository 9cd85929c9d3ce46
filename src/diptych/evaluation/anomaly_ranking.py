"""Measure a fitted detector on labelled photos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from diptych.core import FittedDetector, Run, Table
from diptych.data.images import need_size
from diptych.metrics.detection import auroc, average_precision, per_region_overlap
from diptych.metrics.presentation import equal_error_rate

SIDE = 256
"""Pixel measures count on maps and masks of this square, as the field does."""


@dataclass(frozen=True)
class Ranking:
    """A fitted detector on labelled photos.

    Args:
        scores: (N,).
        labels: (N,) bool, True for anomalous.
        maps: (N, 256, 256) float32 where the detector has maps and the data have masks.
        masks: (N, 256, 256) bool, likewise.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    maps: NDArray[np.float32] | None = None
    masks: NDArray[np.bool_] | None = None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Values by name: "image_auroc", "image_ap" and "eer", and with maps "pixel_auroc", "pixel_ap" and "pro";
        fractions, higher is better but of "eer", the equal error rate.
        """
        values = {
            "image_auroc": auroc(self.scores, self.labels),
            "image_ap": average_precision(self.scores, self.labels),
        }
        if self.maps is not None and self.masks is not None and self.masks.any():
            pixels, bad = self.maps.ravel(), self.masks.ravel()
            values |= {"pixel_auroc": auroc(pixels, bad), "pixel_ap": average_precision(pixels, bad)}
            values["pro"] = per_region_overlap(self.maps, self.masks)
        return {**values, "eer": equal_error_rate(self.scores, self.labels)}


def rank(fitted: FittedDetector, table: Table[Any], run: Run) -> Ranking:
    """Score N readable photos with a "label" column, 0 normal and 1 anomalous, and perhaps a "mask" column of (H, W)
    bool.

    Raises:
        UnreadableItem: a photo or mask cannot be read.
        DataError: there are no labels, or a mask has another size than its photo.
    """
    labels = table.labels() != 0
    column = table.columns.get("mask")
    scores, maps, masks = [], [], []
    for i, anomaly in enumerate(fitted.detect(table.items, run)):
        scores.append(anomaly.score)
        if anomaly.map is None or column is None:
            continue
        mask = np.asarray(column.values[i])
        need_size(table.items.name(i), mask.shape, anomaly.size)
        maps.append(
            F.interpolate(anomaly.map[None, None].float(), (SIDE, SIDE), mode="bilinear", align_corners=False)[
                0, 0
            ].numpy()
        )
        masks.append(
            F.interpolate(torch.from_numpy(mask)[None, None].float(), (SIDE, SIDE), mode="nearest-exact")[0, 0].numpy()
            > 0
        )
    if not maps:
        return Ranking(np.array(scores), labels)
    return Ranking(np.array(scores), labels, np.stack(maps), np.stack(masks))
