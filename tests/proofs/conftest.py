from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.support.colours import COLOURS, coloured

THINGS = ("dog", "car", "hat", "boat", "cat", "bench")


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Return a folder of 30 coloured pictures with two captions each, 12 of them in val."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        colour = list(COLOURS)[i % 5]
        coloured(tmp_path / "said" / f"{i}.png", colour, i, noise=5.0)
        one, two = rng.choice(THINGS, 2, replace=False)
        split = "train" if i < 18 else "val"
        rows.append([f"{i}.png", split, f"a {colour} {one} near a {two}", f"the {one} by the {colour} {two}"])
    with (tmp_path / "said" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "split", "caption_0", "caption_1"], *rows])
    return tmp_path / "said"
