"""False alarms on later frames of a film, with the threshold set on frames and on whole stretches of frames.

    python -m benchmarks.frames camvid_small gaussian 5

The first two thirds of the frames, in the order of their names, are normal; the rest are later frames of the same
films, without anomalies. For each seed the detector on ``lite`` learns from normal frames and keeps a third aside for a
rate of 0.1, once frame by frame and once by stretches.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from diptych.backbones.sources.load import load
from diptych.core import Run
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.named_sets import located
from diptych.evaluation.boards.detect import detector
from diptych.tasks.detect import detections, fit

RATE = 0.1


def main(folder: str, slug: str, seeds: int) -> None:
    """Print a row a way of keeping frames aside."""
    paths = sorted(image_paths(located(folder) / "images"))
    cut = 2 * len(paths) // 3
    normal, later = ImageFiles(paths[:cut]), ImageFiles(paths[cut:])
    tower = load("lite")
    sys.stdout.write("kept aside by   false alarms, least to most of the seeds   stretches\n")
    for title in ("frame", "stretch"):
        alarms, counts = [], []
        for seed in range(seeds):
            run = replace(Run(), seed=seed)
            method = detector(slug, "", "object")
            if title == "frame":
                with patch("diptych.tasks.detect.stretches", lambda photos: None):
                    ready = fit(method, tower, run, normal, rate=RATE)
            else:
                ready = fit(method, tower, run, normal, rate=RATE)
            detected = detections(ready, later, run)
            alarms.append(float(np.mean([bool(d.flagged) for d in detected.results])))
            counts.append(
                ""
                if detected.by.stretches is None
                else f"{detected.by.stretches}{'' if detected.by.held else ' (too few)'}"
            )
        values = f"{np.mean(alarms):.3f}, {min(alarms):.3f} to {max(alarms):.3f}"
        sys.stdout.write(f"{title:15} {values:42} {', '.join(counts)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
