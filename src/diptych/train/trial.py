"""A trial of a training: a few steps at full size, their time and memory, and then the end, before weights are used."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from diptych.core import Run, UsageError
from diptych.core.wording import three_digits
from diptych.train.schedule import Fit

GIB = 2**30


@dataclass(frozen=True)
class Trial:
    """What a trial measured.

    Args:
        steps: optimiser steps that were taken.
        planned: steps of the whole training, which is the first of a fit that trains several times.
        batch: items per step.
        seconds: median duration of a step, without the first where there are several.
        memory: largest memory of the process so far, in bytes; on a GPU that of the GPU.
        device: where it ran.
    """

    steps: int
    planned: int
    batch: int
    seconds: float
    memory: int
    device: str

    def lines(self) -> tuple[str, ...]:
        """Return the measures, and the whole training extrapolated from them, as sentences.

        Example:
            >>> for line in Trial(3, 368_750, 16, 2.5, 3 * GIB, "cuda").lines():
            ...     print(line)
            3 steps of 16 items on cuda: 2.5 seconds per step, 3.0 GiB of memory at most. Nothing was written.
            Extrapolated, and not run: 368,750 steps take 256 hours on this machine.
            This is the first training: those that a system may have after it are not counted.
        """
        hours = self.planned * self.seconds / 3600
        length = f"{hours:,.0f} hours" if hours >= 10 else f"{hours * 60:,.1f} minutes"
        if hours < 1 / 60:
            length = f"{hours * 3600:.1f} seconds"
        return (
            f"{self.steps} steps of {self.batch} items on {self.device}: {three_digits(self.seconds)} seconds per "
            f"step, {self.memory / GIB:.1f} GiB of memory at most. Nothing was written.",
            f"Extrapolated, and not run: {self.planned:,} steps take {length} on this machine.",
            "This is the first training: those that a system may have after it are not counted.",
        )


class TrialEnded(BaseException):
    """Ends a trial. It is no ``Exception``, so that no code on the way takes it for a failure.

    Args:
        trial: the measures.
    """

    def __init__(self, trial: Trial) -> None:
        super().__init__("the trial has ended")
        self.trial = trial


_length: ContextVar[int | None] = ContextVar("trial", default=None)


@contextmanager
def trial(steps: int = 3) -> Iterator[None]:
    """Let the first training inside the block take a few steps and then raise ``TrialEnded``.

    Args:
        steps: optimiser steps, >= 1; from two on the first one is not timed, for it allocates.

    Raises:
        UsageError: no step.
        TrialEnded: at the end of the first training.

    Example:
        >>> from torch import nn
        >>> from diptych.core import Table, Texts
        >>> from diptych.features.vectors import Vectors
        >>> from diptych.train.parameters import train_parameters
        >>> from diptych.train.step import Step
        >>> line, x = nn.Linear(1, 1), Vectors(torch.tensor([[0.0], [1.0]]), Texts(("a", "b")))
        >>> step = Step(line, lambda row, g: {"x": row.item}, lambda b: {"square": (line(b["x"]) - 3).square().mean()})
        >>> try:
        ...     with trial(2):
        ...         weights = train_parameters(step, Table(x), Fit(0.1, 2, 500), Run())
        ... except TrialEnded as ended:
        ...     ended.trial.steps, ended.trial.planned
        (2, 500)
    """
    if steps < 1:
        raise UsageError(f"A trial takes at least one step, got {steps}.")
    token = _length.set(steps)
    try:
        yield
    finally:
        _length.reset(token)


class Timer:
    """Times the steps of one training, and ends it.

    Args:
        fit: settings of the training.
        run: device.
        steps: of the trial.
    """

    def __init__(self, fit: Fit, run: Run, steps: int) -> None:
        self.run = replace(run, out=None)
        self.fit = replace(fit, patience=None, save_every=None, skip_bad_steps=0, watch_every=1, log="")
        self.last = min(steps, fit.steps or steps)
        self.planned = 0
        self.times = [time.perf_counter()]
        if torch.device(run.device).type == "cuda":
            torch.cuda.reset_peak_memory_stats(run.device)

    def watch(self, step: int) -> dict[str, float]:
        """Note the time; raise ``TrialEnded`` after the last step."""
        if torch.device(self.run.device).type == "cuda":
            torch.cuda.synchronize(self.run.device)
        if step >= self.last:
            self.end()
        self.times.append(time.perf_counter())
        return {}

    def end(self) -> None:
        """Raise ``TrialEnded`` with the measures, after the last step of the trial or, as short, of the training."""
        self.times.append(time.perf_counter())
        spent = [after - before for before, after in pairwise(self.times)]
        items = self.fit.batch * self.fit.accumulate
        seconds = statistics.median(spent[1:] or spent)
        raise TrialEnded(
            Trial(len(spent), self.planned, items, seconds, _memory(self.run.device), str(self.run.device))
        )


def timer(fit: Fit, run: Run) -> Timer | None:
    """Return what times the training that begins; None where it is no trial."""
    steps = _length.get()
    return None if steps is None else Timer(fit, run, steps)


def _memory(device: str | torch.device) -> int:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
