"""Compare two 95 % intervals over seeds and items: the crossed bootstrap that boards print, and a two-way t interval.

    python -m tools.seed_intervals

    MS_A = N sum_r (m_r - m)^2 / (R - 1),   MS_B = R sum_n (m_n - m)^2 / (N - 1)
    MS_E = sum_rn (x_rn - m_r - m_n + m)^2 / ((R - 1) (N - 1))
    v    = MS_A + MS_B - MS_E,   interval: m +- t(nu) sqrt(v / (R N))
    nu   = v^2 / (MS_A^2 / (R - 1) + MS_B^2 / (N - 1) + MS_E^2 / ((R - 1) (N - 1)))

x: (R, N) values of R seeds on N items;  m, m_r, m_n: their mean, that of a seed, and that of an item
v / (R N): unbiased for the variance of m where seeds and items are both drawn at random
nu: its degrees of freedom (Satterthwaite 1946)

The laws are those of ``tests.support.nulls.simulations``. Each row has 400 runs: the standard error of a share of 95 %
is 1.1 points.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from diptych.metrics.interval import Interval, bootstrap_mean
from tests.support.nulls.cells import DRAWS, RUNS, holds
from tests.support.nulls.simulations import _pair, hit_table

LEVEL = 0.95


def two_way_t(x: NDArray[np.float64]) -> Interval:
    """Return the two-way t interval of the mean of (R, N) values, R >= 2; v is at least max(MS_A, MS_B, MS_E) / 2."""
    seeds, items = x.shape
    mean, rows, columns = x.mean(), x.mean(1), x.mean(0)
    degrees = np.array([seeds - 1, items - 1, (seeds - 1) * (items - 1)])
    squares = np.array(
        [
            items * np.square(rows - mean).sum(),
            seeds * np.square(columns - mean).sum(),
            np.square(x - rows[:, None] - columns + mean).sum(),
        ]
    )
    a, b, e = squares / degrees
    v = max(a + b - e, max(a, b, e) / 2)
    if v == 0:
        return Interval(mean, mean, mean)
    nu = v**2 / (np.array([a, b, e]) ** 2 / degrees).sum()
    half = t.ppf((1 + LEVEL) / 2, nu) * np.sqrt(v / x.size)
    return Interval(mean, mean - half, mean + half)


def compared(seeds: int, items: int, spread: float, mean: float | None) -> tuple[float, ...]:
    """Return for both intervals the share of runs that hold the truth, then the ratio of their mean widths.

    Args:
        seeds: R.
        items: N.
        spread: standard deviation of the accuracy between seeds.
        mean: true share of hits; None: a gain whose truth is 0.
    """
    held, widths = np.zeros((RUNS, 2)), np.zeros((RUNS, 2))
    for run in range(RUNS):
        rng = np.random.default_rng([run, items])
        if mean is None:
            first, second = _pair(seeds, items, spread, rng)
            x = first.astype(float) - second
        else:
            x = hit_table(rng, seeds, items, mean=mean, spread=spread).astype(float)
        both = bootstrap_mean(x, run, draws=DRAWS), two_way_t(x)
        held[run] = [holds(interval, mean or 0.0) for interval in both]
        widths[run] = [interval.high - interval.low for interval in both]
    return *held.mean(0), widths[:, 1].mean() / widths[:, 0].mean()


def main() -> None:
    """Print the table."""
    columns = "| estimate | seeds differ by | seeds | items | bootstrap holds | t holds | t's width / bootstrap's |"
    sys.stdout.write(f"{columns}\n|---|---|---:|---:|---:|---:|---:|\n")
    for mean, name in ((0.7, "share 0.7"), (0.95, "share 0.95"), (None, "gain")):
        for spread in (0.0, 0.02, 0.05, 0.1, 0.15)[: 3 if mean == 0.95 else 5]:  # 95 % cannot differ by 10 points
            for seeds in (3, 5, 10):
                for items in (20, 200):
                    bootstrap, student, ratio = compared(seeds, items, spread, mean)
                    row = f"{name} | {100 * spread:g} points | {seeds} | {items} | {100 * bootstrap:.1f} %"
                    sys.stdout.write(f"| {row} | {100 * student:.1f} % | {ratio:.2f} |\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
