"""How often `detect` says that photos have changed, on normal photos as they are and darker.

    python -m benchmarks.drift textile_sim magnetic_tile

For each seed, normal test photos are scored by ``feature-memory`` on ``lite``, which learns from normal training photos
and keeps a third aside for a rate of 0.1. A row says in how many seeds the shift is said, and the share of false
alarms.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from diptych.backbones.sources.load import load
from diptych.core import Run, Samples
from diptych.evaluation.boards.detect import detector
from diptych.evaluation.datasets import open_set
from diptych.tasks.detect import detections, fit

RATE, SEEDS, LIGHTS = 0.1, 5, (1.0, 0.8, 0.6)


@dataclass(frozen=True)
class Darker:
    """Photos at another brightness.

    Args:
        photos: as they were taken.
        light: factor of the pixel values.
    """

    photos: Samples[Any]
    light: float

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, i: int) -> Image.Image:
        return ImageEnhance.Brightness(self.photos[i]).enhance(self.light)

    def key(self, i: int) -> str:
        return f"{self.photos.key(i)} x {self.light}"

    def name(self, i: int) -> str:
        return self.photos.name(i)


def main(names: Sequence[str]) -> None:
    """Print a row a data set and light."""
    tower = load("lite")
    sys.stdout.write("data set        light  said  false alarms\n")
    for name in names:
        data = open_set(name, "anomalies")
        train, test = data.split("train"), data.split("test")
        good = [t.take(np.flatnonzero(t.labels() == 0).tolist()).items for t in (train, test)]
        for light in LIGHTS:
            scores, alarms = [], []
            for seed in range(SEEDS):
                run = replace(Run(), seed=seed)
                photos = good[1] if light == 1 else Darker(good[1], light)
                ready = fit(detector("feature-memory", "", "object"), tower, run, good[0], rate=RATE)
                detected = detections(ready, photos, run)
                scores.append((detected.raised or 1.0) < 0.05)
                alarms.append(np.mean([bool(d.flagged) for d in detected.results]))
            sys.stdout.write(f"{name:15} {light:5}  {sum(scores)}/{SEEDS}  {np.mean(alarms):.3f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:] or ["textile_sim", "magnetic_tile"])
