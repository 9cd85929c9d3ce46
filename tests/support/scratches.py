"""Pictures of a surface, some with a bright scratch, in folders as of MVTec, and what a detector says of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.core import Backbone, Detector, Run, Samples, Table
from diptych.tasks.detect import Detections, detections, fit
from diptych.testing.pictures import scratched, surface

__all__ = ["detect", "scratched", "scratched_folder", "surface"]


def scratched_folder(root: Path, train: int = 8, good: int = 6, bad: int = 6) -> Path:
    """Write train/good, test/good, test/scratch and ground_truth/scratch."""
    for place, count, scratch in (
        ("train/good", train, False),
        ("test/good", good, False),
        ("test/scratch", bad, True),
    ):
        (root / place).mkdir(parents=True)
        for i in range(count):
            image, mask = surface(len(place) * 100 + i, scratch)
            image.save(root / place / f"{i}.png")
            if scratch:
                (root / "ground_truth/scratch").mkdir(parents=True, exist_ok=True)
                Image.fromarray(255 * mask.astype(np.uint8)).save(root / "ground_truth/scratch" / f"{i}.png")
    return root


def detect(
    photos: Samples[Any],
    backbone: Backbone,
    run: Run | None = None,
    *,
    method: Detector,
    normal: Samples[Any] | None = None,
    auxiliary: Table[Any] | None = None,
    rate: float | None = None,
) -> Detections:
    """Fit a detector, and score photos."""
    return detections(fit(method, backbone, run or Run(), normal, auxiliary, rate), photos, run or Run())
