"""Mean over pairs of items that share items: the interval leaves out items, not pairs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.metrics.agreeing import alike
from diptych.metrics.estimate import Floats, Interval

Ints = NDArray[np.int64]


def pair_mean(values: Floats, pairs: Ints) -> Interval:
    """Return the mean of M values of pairs with its 95 % interval over the items that the pairs join.

        V = max( (n - 1)/n sum_i (m_i - m)^2 - sum_u (sum of r_p over the pairs p of u)^2 / M^2,
                 sum_p r_p^2 / (M (M - 1)) )
        m +- t(nu) sqrt(V),     nu = 1 / sum_i s_i^2 - 1

    m: the mean;  m_i: the mean of the pairs without item i;  r_p = v_p - m
    n: items that are in a pair;  s_i: share of the 2 M places in pairs that item i takes
    u: an unordered pair of items, since (i, j) and (j, i) are of the same two

    Each pair is left out with both of its items, so its own variance is counted twice, and subtracted once. The second
    term of the maximum is the variance of independent pairs. Where items differ, an interval of independent pairs is
    too narrow: it held the truth in 0.55 of 150 simulations. The ends are infinite where one item is in all pairs, or
    where all values are equal: how far items differ cannot be known then.

    Args:
        values: (M,) finite, M >= 2.
        pairs: (M, 2) positions of items; the two of a pair differ.

    Raises:
        DataError: there are fewer than two values, sizes differ, or a value is not finite.

    Source: Snijders and Borgatti 1999, "Non-parametric standard errors and tests for network statistics" (the
        jackknife over items); the maximum and the degrees of freedom are ours.

    Example:
        Three items of one kind and three of another, in pairs that share items:

        >>> pairs = np.array([(i, j) for i in range(3) for j in range(3, 6)])
        >>> interval = pair_mean(np.array([0.0, 0.5, 0.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.0]), pairs)
        >>> f"{interval.value:.2f}, {interval.low:.2f} to {interval.high:.2f}"
        '0.44, -0.20 to 1.08'
    """
    count = len(values)
    if count < 2 or values.ndim != 1 or pairs.shape != (count, 2) or not np.isfinite(values).all():
        raise DataError(
            f"Values of pairs must be finite, at least 2, and pairs (M, 2), got {values.shape} and {pairs.shape}."
        )
    _, positions = np.unique(pairs, return_inverse=True)
    one, two = positions.reshape(-1, 2).T
    items, mean = int(positions.max()) + 1, float(values.mean())
    uses = np.bincount(positions.ravel(), minlength=items)
    if uses.max() == count or alike(values):
        return Interval(mean, -math.inf, math.inf)
    sums = np.bincount(one, values, items) + np.bincount(two, values, items)
    without = (values.sum() - sums) / (count - uses)
    rest = values - mean
    _, same = np.unique(np.minimum(one, two) * items + np.maximum(one, two), return_inverse=True)
    both = np.bincount(same, rest)
    over_items = (items - 1) / items * float(np.square(without - mean).sum()) - float(both @ both) / count**2
    variance = max(over_items, float(rest @ rest) / (count * (count - 1)))
    from scipy.stats import t

    shares = uses / (2 * count)
    half = float(t.ppf(0.975, 1 / float(shares @ shares) - 1)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)
