"""Fine-tunings of one small random CLIP on coloured squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from diptych.core import ClassNames, Column, Evidence, Kit, Recipe, Space, Table, Trained
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit
from tests.train.test_pair import COLOURS, FIT, RUN, small, squares

CLASSES = ClassNames(tuple(COLOURS), ("a {} square",))
SHORT = replace(FIT, steps=8)


def labelled(rows: int = 40) -> Table[Any]:
    """Return squares with the position of their colour as label."""
    table = squares(rows)
    return Table(table.items, {"label": Column("label", np.arange(rows) % 5)})


def run(
    method: Recipe,
    space: Space | None = None,
    *,
    fit: Fit = FIT,
    classes: ClassNames | None = CLASSES,
    table: Table[Any] | None = None,
    kit: Mapping[str, Any] | None = None,
    learns: Callable[[str], bool] = lambda name: True,
) -> Trained:
    """Tune the small CLIP, or another space."""
    evidence = Evidence(train=labelled() if table is None else table)
    return train_space(
        method, Kit({"main": space or small(), **(kit or {})}), evidence, fit, RUN, classes=classes, learns=learns
    )


def state(space: Space) -> dict[str, torch.Tensor]:
    """Return the weights."""
    return space.module().state_dict()
