"""A few photos of two colours in ADE20K's layout of scene parsing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.dense_colours import halves

NAMES = ("red", "green", "blue", "yellow")
CLASSES = "Idx\tRatio\tTrain\tVal\tName\n" + "".join(
    f"{k}\t0.1\t10\t10\t{name}\n" for k, name in enumerate(("red, scarlet", *NAMES[1:]), start=1)
)


def ade_folder(root: Path, count: int = 0) -> Path:
    """Write two photos for training and four for validation, 60 x 40, whose outer pixels are of no class (0).

    Args:
        root: new.
        count: number of classes, of which the colours are the 601st to the 604th, in ``classes.csv`` and with maps of
            16 bits; 0: the four colours, in ``objectInfo150.txt``.
    """
    first = 600 if count else 0
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    for i, (left, right) in enumerate(pairs):
        split = "training" if i < 2 else "validation"
        for name in ("images", "annotations"):
            (root / name / split).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(0, 10, (40, 60, 3))
        picture = np.asarray(halves(NAMES[left], NAMES[right])) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / "images" / split / f"{i}.jpg", quality=95)
        values = np.where(np.arange(60) < 30, left + 1, right + 1) * np.ones((40, 1), int) + first
        values[0] = values[-1] = 0
        mask = Image.fromarray(values.astype(np.uint16 if count else np.uint8))
        mask.save(root / "annotations" / split / f"{i}.{'tif' if count else 'png'}")
    if count:
        names = [*(f"thing {k}" for k in range(first)), *NAMES, *(f"stuff {k}" for k in range(first + 4, count))]
        (root / "classes.csv").write_text("value,name\n" + "".join(f"{k},{n}\n" for k, n in enumerate(names, 1)))
    else:
        (root / "objectInfo150.txt").write_text(CLASSES)
    return root
