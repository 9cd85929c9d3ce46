"""Compare two 95 % intervals over seeds and items: the crossed bootstrap, and the two-way intervals that boards print.

    python -m tools.seed_intervals

The two are those of ``diptych.metrics.interval`` and ``diptych.metrics.two_way``; of a gain the latter is Student's, of
a share Wilson's with an effective number of cases. The laws are those of ``tests.support.nulls.simulations``. Each row
has 400 runs: the standard error of a share of 95 % is 1.1 points.
"""

from __future__ import annotations

import sys

import numpy as np

from diptych.metrics.interval import bootstrap_mean, paired_bootstrap
from diptych.metrics.two_way import item_gain, item_mean
from tests.support.nulls.cells import DRAWS, RUNS, holds
from tests.support.nulls.simulations import _pair, hit_table


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
            pair = _pair(seeds, items, spread, rng)
            both = paired_bootstrap(*pair, run, draws=DRAWS), item_gain(*pair, run)
        else:
            x = hit_table(rng, seeds, items, mean=mean, spread=spread)
            both = bootstrap_mean(x, run, draws=DRAWS), item_mean(x)
        held[run] = [holds(interval, mean or 0.0) for interval in both]
        widths[run] = [interval.high - interval.low for interval in both]
    return *held.mean(0), widths[:, 1].mean() / widths[:, 0].mean()


def main() -> None:
    """Print the table."""
    columns = (
        "| estimate | seeds differ by | seeds | items | bootstrap holds | two-way holds | its width / bootstrap's |"
    )
    sys.stdout.write(f"{columns}\n|---|---|---:|---:|---:|---:|---:|\n")
    for mean, name in ((0.7, "share 0.7"), (0.95, "share 0.95"), (None, "gain")):
        for spread in (0.0, 0.02, 0.05, 0.1, 0.15)[: 3 if mean == 0.95 else 5]:  # 95 % cannot differ by 10 points
            for seeds in (3, 5, 10):
                for items in (20, 200):
                    bootstrap, two_way, ratio = compared(seeds, items, spread, mean)
                    row = f"{name} | {100 * spread:g} points | {seeds} | {items} | {100 * bootstrap:.1f} %"
                    sys.stdout.write(f"| {row} | {100 * two_way:.1f} % | {ratio:.2f} |\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
