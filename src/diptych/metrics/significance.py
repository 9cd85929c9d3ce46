"""Tests over many systems and many data sets: Holm's correction, mean ranks, Nemenyi's critical difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return M p-values with Holm's correction, which bounds the family-wise error.

        adjusted of the i-th smallest = max over j <= i of  min(1, (M - j + 1) p_(j))

    p_(j): the j-th smallest p-value

    Args:
        p_values: (M,) in [0, 1].

    Returns:
        (M,) adjusted p-values, in the given order, each at least the original.

    Raises:
        DataError: a value is no probability.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"P-values must be in [0, 1], got {p[~((p >= 0) & (p <= 1))][0]}: give probabilities.")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.minimum(1.0, (len(p) - np.arange(len(p))) * p[order]))
    adjusted = np.empty_like(steps)
    adjusted[order] = steps
    return tuple(adjusted.tolist())


def mean_ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the rank of each system, averaged over data sets; 1 is best, ties share their mean rank.

    Args:
        values: (N, K), K systems on N data sets, higher is better.

    Returns:
        (K,) in [1, K].

    Raises:
        DataError: no data set or no system, or a value is not finite.
    """
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"Ranks need finite values, (data sets, systems), at least one, got size {values.shape}.")
    from scipy.stats import rankdata

    return rankdata(-values, axis=1).mean(axis=0)


def critical_difference(systems: int, datasets: int, level: float = 0.05) -> float:
    """Return Nemenyi's critical difference of the mean ranks of two systems.

        CD = q sqrt( K (K + 1) / (6 N) )

    q: quantile of the studentized range of K groups with infinite degrees of freedom, over sqrt 2

    Args:
        systems: K, at least 2.
        datasets: N, at least 1.
        level: error rate of the whole comparison.

    Raises:
        UsageError: fewer than two systems or one data set, or a level outside (0, 1).

    Source: Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", section 3.2.2 (Nemenyi's
        test).
    """
    if systems < 2 or datasets < 1 or not 0 < level < 1:
        raise UsageError(
            "A critical difference needs at least 2 systems and 1 data set and a level in (0, 1), got "
            f"{systems}, {datasets} and {level}."
        )
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - level, systems, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(systems * (systems + 1) / (6 * datasets)))


def cliques(ranks: Sequence[float], difference: float) -> tuple[tuple[int, ...], ...]:
    """Return the largest groups of K systems whose mean ranks differ by at most ``difference``.

    They are the bars of a critical-difference plot.

    Returns:
        Groups of two or more positions in ``ranks``, best first; no group contains another.
    """
    order = sorted(range(len(ranks)), key=lambda k: ranks[k])
    groups: list[tuple[int, ...]] = []
    for start in range(len(order)):
        group = tuple(k for k in order[start:] if ranks[k] - ranks[order[start]] <= difference)
        if len(group) > 1 and not any(set(group) <= set(g) for g in groups):
            groups.append(group)
    return tuple(groups)
