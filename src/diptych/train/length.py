"""How long a training is: in steps, or in seconds that become steps at the pace so far.

steps(t) = t seconds / s(t)                after t steps, which took s(t)
warm-up  = min(warmup, steps(t) / 10)      where seconds are given, rounded down
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from diptych.train.schedule import Fit, Schedule

WARM = 10
"""The warm-up takes at most one in so many of the steps that the seconds allow (ours)."""


@dataclass(frozen=True)
class Length:
    """The length of one training.

    Args:
        fit: says it.
        kind: of the device, such as "cpu".

    Example:
        After 4 steps in 1 of 10 seconds there is time for 40, and a warm-up of 20 is over after 4:

        >>> length = Length(Fit(0.1, 8, seconds=10.0, schedule=Schedule(warmup=20)), "cpu")
        >>> length.steps(4, 1.0, lambda: 0), length.schedule(4, 40).warmup
        (40, 4)
    """

    fit: Fit
    kind: str

    def steps(self, done: int, spent: float, batches: Callable[[], int]) -> int:
        """Return the steps of the whole training: those of the fit, or as many as its seconds allow at the pace so far.

        Before the first step, whose pace nobody knows, they are those of the warm-up and one more.

        Args:
            done: finished steps.
            spent: seconds that they took.
            batches: counts those of an epoch; asked where the length is in epochs.
        """
        fit = self.fit
        if fit.seconds is None:
            return fit.steps or (fit.epochs or 0) * max(1, batches() // fit.accumulate)
        pace = round(done * fit.seconds / max(spent, 1e-9)) if done else fit.schedule.warmup + 1
        return max(done + 1, pace)

    def over(self, done: int, spent: float, steps: int) -> bool:
        """Whether the training ends after ``done`` of ``steps`` steps, which took ``spent`` seconds."""
        return done >= steps if self.fit.seconds is None else spent >= self.fit.seconds

    def schedule(self, done: int, steps: int) -> Schedule:
        """Return the schedule of the next step; with seconds its warm-up is at most a tenth of ``steps``, so that slow
        steps do not spend their time in it. The first step, before which there is no pace, has that of the fit.
        """
        schedule = self.fit.schedule
        return (
            replace(schedule, warmup=min(schedule.warmup, steps // WARM))
            if self.fit.seconds is not None and done
            else schedule
        )

    def now(self) -> float:
        """Return seconds of this process on all its cores on a CPU, and of the clock elsewhere."""
        return time.process_time() if self.kind == "cpu" else time.perf_counter()
