"""Intervals in closed form: Wilson's and Newcombe's of shares, Student's of means, and of the difference of two.

Is an accuracy above chance? Audits of a model that guesses measure nothing.
"""

from __future__ import annotations

import math

import numpy as np

from diptych.core import DataError, UsageError
from diptych.metrics.agreeing import UNBOUNDED, agreeing, alike
from diptych.metrics.estimate import Floats, Interval, checked_level


def t_mean(
    values: Floats, *, level: float = 0.95, sides: int = 2, possible: tuple[float, float] = UNBOUNDED
) -> Interval:
    """Return the mean of a few independent values, such as one per class, with Student's interval of K - 1 degrees.

        mean +- t(K - 1) s / sqrt(K),   s: the standard deviation with K - 1 in the denominator

    It is exact for normal values. The interval of one value is infinite; that of values that are all equal is that of
    ``metrics.agreeing.agreeing``.

    Args:
        values: (K,) finite, at least one.
        level: share of intervals that contain the true mean, in (0, 1).
        sides: 2 for both ends; 1 for a lower bound alone, with ``high`` infinite.
        possible: the lowest and the highest value, for values that are all equal.

    Raises:
        DataError: no values, or a value is not finite.
        UsageError: level outside (0, 1), or sides neither 1 nor 2.

    Source: Student 1908.
    """
    if sides not in (1, 2):
        raise UsageError(f"sides must be 1 or 2, got {sides}.")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"Values must be finite numbers, (classes,), at least one, got size {values.shape}.")
    from scipy.stats import t

    mean, tail = float(values.mean()), (1 - checked_level(level)) / sides
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf)
    if alike(values):
        return agreeing(mean, len(values), possible, level=level, sides=sides)
    half = float(t.ppf(1 - tail, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half if sides == 2 else math.inf)


def wilson(hits: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval of a proportion, in [0, 1].

    Args:
        hits: successes, 0 <= hits <= n; an effective number need not be whole.
        n: trials, above 0.
        z: standard normal quantile; 1.96 gives a 95 % interval.

    Source: Wilson 1927.
    """
    p, scale = hits / n, 1 + z * z / n
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / scale
    middle = (p + z * z / (2 * n)) / scale
    return middle - half, middle + half


def newcombe(hits: int, n: int, other_hits: int, other_n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of the difference of two independent proportions.

        d - sqrt( (p - l)^2 + (u' - p')^2 )  to  d + sqrt( (u - p)^2 + (p' - l')^2 )

    p = hits / n, p' = other_hits / other_n, and d = p - p'
    l, u: the ends of Wilson's interval of p;  l', u': those of p'

    Args:
        hits: successes, 0 <= hits <= n.
        n: trials, at least 1.
        other_hits: successes of the subtracted proportion.
        other_n: trials of the subtracted proportion, at least 1.
        z: standard normal quantile.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    p, q = hits / n, other_hits / other_n
    (low, high), (other_low, other_high) = wilson(hits, n, z), wilson(other_hits, other_n, z)
    return p - q - math.hypot(p - low, other_high - q), p - q + math.hypot(high - p, q - other_low)


def apart(first: Interval, second: Interval) -> Interval:
    """Return the difference of two independent estimates with the interval that follows from their two-sided ones.

        d - sqrt( (a - l)^2 + (u' - b)^2 )  to  d + sqrt( (u - a)^2 + (b - l')^2 ),   d = a - b

    a, b: the estimates;  l, u: the ends of the interval of a;  l', u': those of b

    Of two estimates on the same items, which rise and fall together, it is too wide.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach".

    Example:
        >>> difference = apart(Interval(0.6, 0.57, 0.63), Interval(0.5, 0.46, 0.54))
        >>> print(f"{difference.value:.2f} [{difference.low:.2f}, {difference.high:.2f}]")
        0.10 [0.05, 0.15]
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - below, value + above)


def above_chance(hits: int, items: int, chance: float) -> bool:
    """Return whether so many hits come by chance with a probability of less than 0.05, one-sided and exact.

    Args:
        hits: right answers.
        items: answers; 0 is at chance.
        chance: probability that a guess is right, in (0, 1]; of K classes with equal numbers of items, 1 / K.
            Nothing is above a chance of 1, where all items are of one class.

    Raises:
        UsageError: hits are more than the items, or a probability is outside (0, 1).

    Example:
        >>> above_chance(40, 100, 0.25), above_chance(27, 100, 0.25)
        (True, False)
    """
    if not 0 <= hits <= items or not 0 < chance <= 1:
        raise UsageError(f"hits must be in [0, items] and chance in (0, 1], got {hits} of {items} and {chance}.")
    from scipy.stats import binom

    return bool(items and binom.sf(hits - 1, items, chance) < 0.05)


def at_chance(hits: int, items: int, chance: float) -> str:
    """Return why nothing is testable where an accuracy is not above chance, in one sentence; "" where it is."""
    if above_chance(hits, items, chance):
        return ""
    share = hits / items if items else math.nan
    return (
        f"{hits} of {items} answers are right ({100 * share:.0f} %), which is not above chance ({100 * chance:.0f} %): "
        f"what changes this accuracy cannot be seen."
    )
