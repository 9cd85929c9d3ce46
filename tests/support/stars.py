"""The seeded stars of ``diptych.testing``, and their classes."""

from __future__ import annotations

import numpy as np

from diptych.core import Column, Table
from diptych.data.stars import Star
from diptych.testing.samples import GRID, star, star_task, stars

__all__ = ["GRID", "labelled", "star", "star_task", "stars"]


def labelled(count: int, first: int = 0) -> Table[Star]:
    """Two classes: of small and of large amplitude."""
    made = stars(count, first)
    return Table(made, {"label": Column("label", np.array([int(s.metadata[0] > 1.75) for s in made.stars]))})  # type: ignore[index]
