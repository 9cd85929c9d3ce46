"""The slope of a mixture of two data sources, in the closed form for linear classifiers of two Gaussian classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.core import UsageError
from diptych.evaluation.arms import Floats


def slope_of(w: Any, reference: Any, shifted: Any) -> Floats:
    """Return g(a2) / g(a1) of linear classifiers of two Gaussian classes, (...).

    Args:
        w: (..., D) weights; w . m_1 must not be 0.
        reference: (D,) m_1, the mean of the positive class on the reference set.
        shifted: (D,) m_2, the same under the shift.
    """
    weights = np.asarray(w, dtype=np.float64)
    return np.asarray((weights @ np.asarray(shifted)) / (weights @ np.asarray(reference)))


def mixed_slope(first: Any, second: Any, reference: Any, shifted: Any, share: float = 0.5) -> float:
    """Return the slope of a mixture of two sources in the closed form.

    Args:
        first: (D,) m_A.
        second: (D,) m_B.
        reference: (D,) m_1.
        shifted: (D,) m_2.
        share: s, of items of the first source, in [0, 1].

    Raises:
        UsageError: share is outside [0, 1].

    Example:
        >>> a, b, photo, sketch = np.array([1.0, 0.2]), np.array([0.5, 1.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0])
        >>> [round(mixed_slope(a, b, photo, sketch, s), 2) for s in (1.0, 0.5, 0.0)]
        [0.2, 0.8, 2.0]
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share must be in [0, 1], got {share}.")
    return float(slope_of(share * np.asarray(first) + (1 - share) * np.asarray(second), reference, shifted))
