"""One mechanism of measuring: an arm is measured on a bench, and boards, proofs and ablations are plans over arms.

    measure(arm) -> Measured,    arm: a system, the row of its card, how many shots it sees, and what is spoiled

A bench is one verb on one data set: it opens nothing, knows what a system of the verb may see, fits once per seed, and
returns a value for each item. A board (``boards.verb``) compares rows of the catalog on a bench, a proof
(``proofs.trial``) compares a system with baselines and with itself, spoiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Run, UnreadableItem
from diptych.features.artefacts import About
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import one_sided_lower
from diptych.metrics.ratio import ratio, ratio_gain, ratio_lower, ratio_p
from diptych.metrics.two_way import item_gain, item_gain_p, item_mean

Floats = NDArray[np.float64]
CHANCE = "chance"
"""The baseline that draws an answer at random."""


@dataclass(frozen=True)
class Loaded:
    """What was fitted before, and read from a folder.

    Args:
        folder: its path, as the user gave it.
        sha256: of the folder's description, which holds that of its tensors.
        about: what the folder says: the system with its settings, classes and backbone.
        fitted: what ``fit`` returned, as the bench measures it.
    """

    folder: str
    sha256: str
    about: About = field(compare=False, repr=False)
    fitted: Any = field(compare=False, repr=False)

    def as_dict(self) -> dict[str, str]:
        """Return plain data for JSON."""
        return self.about.source(self.folder, self.sha256)


@dataclass(frozen=True)
class Arm:
    """What is measured.

    Args:
        system: slug of the catalog; or what a bench knows beside it, such as ``CHANCE`` or a system with its settings.
        variant: row of its card.
        shots: train items per class, where the bench draws them.
        spoil: what is wrong with it; None: nothing. What it changes is the bench's matter, see ``spoils.Spoil``.
        length: of its training, by a name that the bench knows, such as "60 steps"; "": the bench has one for all.
        loaded: what is measured instead of fitting; None: the system is fitted.
    """

    system: Any
    variant: str = ""
    shots: int = 0
    spoil: Any = None
    length: str = ""
    loaded: Loaded | None = None

    @property
    def label(self) -> str:
        """Return "slug" or "slug:variant", as ``--methods`` takes it, the length where there are several, and the
        folder from which it was loaded.
        """
        row = f"{self.system}{'' if self.variant.startswith('[') or not self.variant else ':'}{self.variant}"
        return ", ".join(filter(None, (row, self.length, f"loaded from {self.loaded.folder}" if self.loaded else "")))


@dataclass(frozen=True)
class Measured:
    """What one arm reached.

    Args:
        values: (R, N, ...) of R seeds on the same N items: the metric of each, or what a ``Statistic`` makes it from.
        others: further numbers, means over the seeds that were run.
        seeds: that were run: one where nothing is drawn, whose values then stand R times.
        parts: name -> what else the same fits reached, such as hits on other classes.
        counted: whether values are (R, N, 2) cases of each item and hits among them, see ``RATIOS``, in a part.
    """

    values: NDArray[Any]
    others: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    parts: Mapping[str, Measured] = field(default_factory=dict)
    counted: bool = False

    def part(self, name: str) -> Measured:
        """Return a part; "" is the whole."""
        return self.parts[name] if name else self


def _mean(values: Any, _: int) -> Interval:
    return item_mean(values)


@dataclass(frozen=True)
class Statistic:
    """How values become the metric.

    Args:
        of: (values, seed) -> the metric with its 95 % interval.
        gain: (first, second, seed) -> the gain, paired by seed and item, with its two-sided 95 % interval: for boards.
        lower: the same with its one-sided lower bound: for proofs; None: no proof reads it. It stays the crossed
            bootstrap, by which the verdicts of ``results/`` were reached.
        p: (first, second, seed) -> the two-sided p-value of the gain; None: boards give none.
    """

    of: Callable[[Any, int], Interval] = _mean
    gain: Callable[[Any, Any, int], Interval] = item_gain
    lower: Callable[[Any, Any, int], Interval] | None = one_sided_lower
    p: Callable[[Any, Any, int], float] | None = None


MEANS = Statistic(p=item_gain_p)
"""The metric is the mean over items."""
RATIOS = Statistic(ratio, ratio_gain, ratio_lower, ratio_p)
"""The metric is a share of cases that are counted by item, such as the regions of a picture: (R, N, 2) values."""


def of_part(part: Measured) -> Statistic | None:
    """Return how the values of a part become a metric; None: a board shows no such part."""
    if part.counted:
        return RATIOS
    return MEANS if np.ndim(part.values) == 2 else None


class Bench(Protocol):
    """How the systems of one verb are measured on one data set."""

    @property
    def backbone(self) -> Backbone:
        """Of all arms."""

    @property
    def run(self) -> Run:
        """Device, cache, progress, and the seed of the bootstraps."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of draws and trainings."""

    @property
    def metric(self) -> str:
        """Name of the metric, of which higher is better."""

    @property
    def statistic(self) -> Statistic:
        """How values become the metric."""

    @property
    def always(self) -> tuple[Arm, ...]:
        """Rows that a board always runs; gains are measured against the first."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the result says of the data: name, hash, items and more."""

    @property
    def failed(self) -> Sequence[UnreadableItem]:
        """What cannot be read, and was left out."""

    def measure(self, arm: Arm, /) -> Measured:
        """Fit and measure; raises one of ``schedule.UNFIT`` where a system does not fit."""


Reached: TypeAlias = (
    tuple[NDArray[Any], Mapping[str, float]] | tuple[NDArray[Any], Mapping[str, float], Mapping[str, NDArray[Any]]]
)
"""(N, ...) values of one seed, further numbers, and name -> values of parts, where there are any."""


def over_seeds(once: Callable[[Run], Reached], run: Run, seeds: Sequence[int], *, draws: bool) -> Measured:
    """Measure once per seed, which replaces that of the run; where nothing is drawn, once for all."""
    chosen = tuple(seeds if draws else seeds[:1])
    results = [once(replace(run, seed=seed)) for seed in chosen] * (1 if draws else len(seeds))
    others = {name: float(np.mean([more[1][name] for more in results])) for name in results[0][1]}
    names = results[0][2] if len(results[0]) == 3 else ()
    parts = {name: np.stack([part[2][name] for part in results if len(part) == 3]) for name in names}
    return Measured(
        np.stack([np.asarray(result[0]) for result in results]),
        others,
        chosen,
        {name: Measured(values, {}, chosen) for name, values in parts.items()},
    )
