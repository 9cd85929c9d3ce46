"""An estimate with its interval, and the level of an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Args:
        value: the estimate, usually a mean.
        low: lower end.
        high: upper end; infinite for a one-sided lower bound.
    """

    value: float
    low: float
    high: float


def checked_level(level: float) -> float:
    """Return the level of an interval; raises UsageError where it is not in (0, 1)."""
    if not 0 < level < 1:
        raise UsageError(f"level must be in (0, 1), got {level}.")
    return level
