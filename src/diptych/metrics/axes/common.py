"""What the axes share: halves, how many items are too few, and sentences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.core import ClassNames, Example, Run, Samples
from diptych.core.findings import EXAMPLES
from diptych.features.subjects import Answers
from diptych.metrics.outliers import maximum_probability

FEW = 10
"""Items below which an axis is not testable."""


def half_of(n: int, run: Run, purpose: str) -> NDArray[np.bool_]:
    """Return a random half of n items as a mask (n,)."""
    first = np.zeros(n, dtype=bool)
    first[np.random.default_rng(run.integer(purpose)).permutation(n)[: n // 2]] = True
    return first


def too_few(n: int, least: int = FEW) -> str:
    """Return why n items cannot be tested; "" where they are enough."""
    return "" if n >= least else f"{n} items are too few: give {least} at least."


def points(drop: float) -> str:
    """Return the beginning of a sentence about a drop of accuracy."""
    return f"Accuracy {'falls' if drop >= 0 else 'rises'} by {abs(100 * drop):.0f} points"


def mistakes(about: str, items: Samples[object], classes: ClassNames, a: Answers) -> tuple[Example, ...]:
    """Return the surest mistakes of a model as examples."""
    wrong = np.flatnonzero(~a.hits)
    if not len(wrong):
        return ()
    surest = wrong[np.argsort(-maximum_probability(a.logits[wrong]), kind="stable")][:EXAMPLES]
    names, predicted = classes.names, a.predicted
    return tuple(
        Example(about, items.key(int(i)), f"{names[a.labels[i]]}, taken for {names[predicted[i]]}") for i in surest
    )
