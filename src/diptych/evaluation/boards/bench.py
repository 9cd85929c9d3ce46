"""A bench: how the systems of one verb are measured on one data set, once a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.errors import MissingEvidence, MissingExtra, MissingHook, MissingPart, UnreadableItem
from diptych.core.run import Run
from diptych.metrics.interval import Interval, bootstrap_mean, paired_bootstrap

Floats = NDArray[np.float64]
Job = tuple[str, str]
"""Slug and row of its card; a bench may have jobs of its own, such as what was there before a training."""
UNFIT = (MissingHook, MissingPart, MissingExtra, MissingEvidence)
"""What a system says that the backbone, the parts or the data do not fit."""


@dataclass(frozen=True)
class Measured:
    """What one system reached.

    Args:
        values: (R, N, ...) of R seeds on the same N items: the metric of each, or what a ``Statistic`` makes it from.
        others: further numbers, means over the seeds that were run.
        seeds: that were run: one where nothing is drawn, whose values then stand R times.
    """

    values: NDArray[Any]
    others: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Statistic:
    """How values become the metric: ``of(values, seed)`` and, paired by seed and item, ``gain(first, second, seed)``,
    two-sided 95 %.
    """

    of: Callable[[Any, int], Interval] = bootstrap_mean
    gain: Callable[[Any, Any, int], Interval] = paired_bootstrap


MEANS = Statistic()
"""The metric is the mean over items."""


def two_sided(bound: Callable[..., Interval], first: Any, second: Any, *more: Any) -> Interval:
    """Return a gain with both ends: two lower bounds of the same resamples, one of them of the loss.

    Args:
        bound: (first, second, ``more``, level) -> gain with its one-sided lower bound.
        first: what gains.
        second: what it is compared with.
        more: its other arguments.
    """
    low, high = bound(first, second, *more, level=0.975), bound(second, first, *more, level=0.975)
    return Interval(low.value, low.low, -high.low)


class Bench(Protocol):
    """How the systems of one verb are measured on one data set."""

    @property
    def backbone(self) -> Backbone:
        """Of all rows."""
        ...

    @property
    def run(self) -> Run:
        """Device, cache, progress, and the seed of the bootstraps."""
        ...

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of draws and trainings."""
        ...

    @property
    def metric(self) -> str:
        """Name of the metric, of which higher is better."""
        ...

    @property
    def statistic(self) -> Statistic:
        """How values become the metric."""
        ...

    @property
    def always(self) -> tuple[Job, ...]:
        """Rows that are always run; gains are measured against the first."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the result says of the data: name, items and more."""
        ...

    @property
    def failed(self) -> Sequence[UnreadableItem]:
        """What cannot be read, and was left out."""
        ...

    def measure(self, slug: str, variant: str) -> Measured:
        """Fit and measure a system; raises one of ``UNFIT`` where it does not fit."""
        ...


def over_seeds(
    once: Callable[[Run], tuple[NDArray[Any], Mapping[str, float]]], run: Run, seeds: Sequence[int], *, draws: bool
) -> Measured:
    """Measure once a seed; where nothing is drawn, once for all.

    Args:
        once: run -> (N, ...) values and further numbers.
        run: its seed is replaced.
        seeds: R of them.
        draws: whether the seed changes anything.
    """
    asked = tuple(seeds if draws else seeds[:1])
    found = [once(replace(run, seed=seed)) for seed in asked]
    values = np.stack([np.asarray(v) for v, _ in found])
    means = {name: float(np.mean([others[name] for _, others in found])) for name in found[0][1]}
    return Measured(np.repeat(values, len(seeds), axis=0) if len(found) < len(seeds) else values, means, asked)
