"""Folders of pictures of a surface, some with a bright scratch, in MVTec's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diptych.testing.pictures import scratched, surface

__all__ = ["scratched", "scratched_folder", "surface"]


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
