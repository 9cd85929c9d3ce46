"""The settings of a training: every number that changes its result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diptych.core.errors import UsageError
from diptych.core.ranges import above, at_least, between, check


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up of the learning rate, then a cosine to ``floor`` or a constant.

        factor(t) = (t + 1) / warmup                                                             for t < warmup
        factor(t) = floor + (1 - floor) (1 + cos(pi (t - warmup) / (steps - warmup))) / 2        from then on

    t is the step, from 0, and steps the length of the training.

    Args:
        kind: "cosine" (default) or "constant".
        warmup: steps of the warm-up, >= 0.
        floor: share of the learning rate at which the cosine ends, in [0, 1].

    Example:
        >>> [round(Schedule(warmup=2, floor=0.1).factor(t, steps=6), 2) for t in range(6)]
        [0.5, 1.0, 1.0, 0.87, 0.55, 0.23]
    """

    kind: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    floor: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """Return the factor on the learning rate, in [0, 1], in a step (from 0) of ``steps``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, steps - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Fit:
    """How one training runs.

    Args:
        lr: learning rate where the schedule's factor is 1.
        batch: items in one loss, over ALL processes, so that the number of processes does not change the result.
        epochs: passes over the data; give this, ``steps`` or ``seconds``.
        steps: optimiser steps; a stream needs them, or ``seconds``.
        seconds: of training, reading of batches included, without validation and checkpoints: of the processor (all
            its cores added up) on a CPU, so that other load changes nothing, and of the clock elsewhere. The length in
            steps, which schedules read, is then estimated anew after each step, and no two runs are equal to the bit.
        schedule: factor on the learning rate in each step.
        optimizer: "adamw", "adam", "radam" or "sgd".
        betas: of Adam; the first is also the momentum of SGD.
        eps: of Adam.
        decay: weight decay.
        accumulate: batches whose mean gradient is used in one step; negatives come from the same batch alone.
        clip: largest gradient norm of the groups that step together; None does not clip.
        ema: decay of the moving average of the weights, in [0, 1), which is validated and returned; None: no average.
        patience: epochs without a better validation after which training stops, with the best weights; None: no early
            stopping.
        save_every: steps between checkpoints; None: a checkpoint after every epoch alone.
        keep: number of checkpoints that are not removed, the latest.
        log_every: steps between log records.

    Raises:
        UsageError: not exactly one of epochs, steps and seconds is given, or a number is out of its range.
    """

    lr: float
    batch: int
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    schedule: Schedule = Schedule()
    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    decay: float = 0.2
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    save_every: int | None = None
    keep: int = 2
    log_every: int = 1

    def __post_init__(self) -> None:
        if sum(length is not None for length in (self.epochs, self.steps, self.seconds)) != 1:
            raise UsageError(
                f"The length of a training must be epochs, steps or seconds, got epochs={self.epochs}, "
                f"steps={self.steps} and seconds={self.seconds}: give one of the three."
            )
        check(
            self, at_least(1), "epochs", "steps", "batch", "accumulate", "patience", "save_every", "keep", "log_every"
        )
        check(self, between(0, 1, "[)"), "ema")
        check(self, above(0), "seconds")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)
