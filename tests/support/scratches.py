"""Pictures of an even surface, some with a bright scratch, and folders of them in MVTec's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diptych.core import Column, Table
from tests.support.pictures import Pictures

SIDE = 48


def surface(seed: int, scratch: bool) -> tuple[Image.Image, np.ndarray]:
    """Return a noisy blue picture of 48 x 40 pixels and the (40, 48) mask of its red scratch."""
    rng = np.random.default_rng([7, seed])
    pixels = np.array([60, 80, 200]) + rng.normal(0, 12, (40, SIDE, 3))
    mask = np.zeros((40, SIDE), dtype=bool)
    if scratch:
        top, left = rng.integers(2, 20), rng.integers(2, 24)
        mask[top : top + 14, left : left + 18] = True
        pixels[mask] = np.array([230, 40, 40])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), mask


def scratched(normal: int, anomalous: int, seed: int) -> Table[Image.Image]:
    """Return a table with labels and masks, normal pictures first."""
    made = [surface(1000 * seed + i, i >= normal) for i in range(normal + anomalous)]
    labels = np.repeat([0, 1], [normal, anomalous])
    columns = {"label": Column("label", labels), "mask": Column("mask", tuple(mask for _, mask in made))}
    return Table(Pictures(tuple(image for image, _ in made)), columns)


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
