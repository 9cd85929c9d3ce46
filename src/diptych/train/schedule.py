"""The settings of a training, all in the open: nothing that changes the result hides in the loop."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diptych.core.errors import UsageError
from diptych.core.ranges import at_least, between, check


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a cosine to ``floor`` or a constant.

    factor(t) = (t + 1) / warmup for t < warmup, then floor + (1 - floor) (1 + cos(pi (t - warmup) / (steps - warmup)))
    / 2.

    Args:
        kind: "cosine" or "constant".
        warmup: steps of the warm-up.
        floor: share of the learning rate at which the cosine ends.
    """

    kind: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    floor: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """Return the factor in [0, 1] on the learning rate in ``step`` (from 0) of ``steps``."""
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
        lr: learning rate at the top of the schedule.
        batch: items in one loss, over ALL processes: the number of processes changes the speed, not the result.
        epochs: passes over the data; give this or ``steps``.
        steps: optimiser steps; the only choice for a stream.
        schedule: course of the learning rate.
        optimizer: "adamw", "adam" or "sgd".
        betas: of Adam; the first is also the momentum of SGD.
        eps: of Adam.
        decay: weight decay.
        accumulate: batches whose mean gradient makes a step. Their losses stay apart: negatives come from one batch
            only.
        clip: largest gradient norm of the groups that step together; None does not clip.
        ema: decay of averaged weights, with which training ends and validates; None keeps none.
        patience: epochs without a better validation after which training stops and takes the best weights; None never
            stops.
        save_every: steps between checkpoints, beside the one after every epoch; None saves after epochs only.
        keep: number of latest checkpoints kept.
        log_every: steps between log records.

    Raises:
        UsageError: neither or both of epochs and steps, or a number out of its range.
    """

    lr: float
    batch: int
    epochs: int | None = None
    steps: int | None = None
    schedule: Schedule = Schedule()
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
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
        if (self.epochs is None) == (self.steps is None):
            raise UsageError("Give the length of a training as either epochs or steps.")
        check(
            self, at_least(1), "epochs", "steps", "batch", "accumulate", "patience", "save_every", "keep", "log_every"
        )
        check(self, between(0, 1, "[)"), "ema")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)
