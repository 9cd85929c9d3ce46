"""The settings of a training: every number that changes its result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diptych.core import UsageError
from diptych.core.ranges import above, at_least, between, check


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up of the learning rate, then a cosine to ``floor``, or a constant that may cool down to it.

        factor(t) = (t + 1) / warmup                                                             for t < warmup
        factor(t) = floor + (1 - floor) (1 + cos(pi (t - warmup) / (steps - warmup))) / 2        cosine, from then on
        factor(t) = floor + (1 - floor) (steps - t) / cooldown                                   constant, at its end

    t is the step, from 0, and steps the length of the training.

    Args:
        kind: "cosine" (default) or "constant".
        warmup: steps of the warm-up, >= 0.
        floor: share of the learning rate at which the cosine or the cool-down ends, in [0, 1].
        cooldown: last steps in which a constant rate falls linearly, >= 0; 0 (default): it never falls.
        warmup_share: largest share of the steps that the warm-up takes, in [0, 1]; None (default): any, so that a
            training that is shorter than its warm-up never reaches the learning rate.

    Raises:
        UsageError: an unknown kind, a number out of its range, or a cool-down of a cosine.

    Example:
        >>> [round(Schedule(warmup=2, floor=0.1).factor(t, steps=6), 2) for t in range(6)]
        [0.5, 1.0, 1.0, 0.87, 0.55, 0.23]
        >>> [Schedule("constant", cooldown=2).factor(t, steps=4) for t in range(4)]
        [1.0, 1.0, 1.0, 0.5]
        >>> [round(Schedule(warmup=20, warmup_share=0.5).factor(t, steps=4), 2) for t in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """

    kind: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    floor: float = 0.0
    cooldown: int = 0
    warmup_share: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "constant"):
            raise UsageError(f"A schedule is cosine or constant, got {self.kind!r}.")
        check(self, at_least(0), "warmup", "cooldown")
        check(self, between(0, 1), "floor", "warmup_share")
        if self.cooldown and self.kind == "cosine":
            raise UsageError(
                f"A cosine falls to its end, so a cool-down of {self.cooldown} steps has no place there: take the "
                f"constant schedule."
            )

    def check_length(self, steps: int) -> None:
        """Check that the cool-down has room in a training of ``steps``.

        Raises:
            UsageError: it has not.
        """
        if self.cooldown > steps:
            raise UsageError(
                f"A cool-down of {self.cooldown} steps is longer than the training of {steps}: give a shorter one."
            )

    def warm(self, steps: int) -> int:
        """Return the steps of the warm-up in a training of ``steps``."""
        return self.warmup if self.warmup_share is None else min(self.warmup, int(self.warmup_share * steps))

    def factor(self, step: int, steps: int) -> float:
        """Return the factor on the learning rate, in [0, 1], in a step (from 0) of ``steps``."""
        warmup = self.warm(steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.kind == "constant":
            left = min(1.0, (steps - step) / self.cooldown) if self.cooldown else 1.0
            return self.floor + (1 - self.floor) * left
        done = (step - warmup) / max(1, steps - warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Fit:
    """How one training runs.

    Args:
        lr: learning rate where the schedule's factor is 1.
        batch: items in one loss, over ALL processes, so that the number of processes does not change the result.
        epochs: passes over the data; give this, ``steps`` or ``seconds``.
        steps: optimiser steps; a stream needs them, or ``seconds``.
        seconds: of training, without validation and checkpoints: of the processor (all its cores added up) on a CPU,
            so that other load changes nothing, and of the clock elsewhere. Reading of batches is included; on a CPU
            what ``Run.workers`` read is not, for they are other processes: compare with ``workers=0``, as boards do.
            The length in steps, which schedules read, is then estimated anew after each step, the warm-up is at most a
            tenth of it, and no two runs are equal to the bit.
        schedule: factor on the learning rate in each step.
        optimizer: "adamw", "adam", "radam" or "sgd".
        betas: of Adam, each in [0, 1); the first is also the momentum of SGD.
        eps: of Adam, in [0, infinity).
        layer_decay: factor on the learning rate a block of a tower, from its end to its stem, in (0, 1]; 1.0
            (default): all blocks learn alike. See ``train.layers.depths``.
        accumulate: batches of one step; the mean of their gradients is used, and negatives are of the same batch.
        cached: the batches of a step are one batch for the loss, whose negatives are of all of them: each is embedded
            twice, and the activations of one alone are in memory. The gradient is exact (GradCache).
        clip: largest gradient norm of the groups that step together; None does not clip.
        ema: decay of the moving average of the weights, in [0, 1), which is validated and returned; None: no average.
        patience: epochs without a better validation after which training stops, with the best weights; None: no early
            stopping.
        save_every: steps between checkpoints; None: a checkpoint after every epoch alone.
        keep: number of checkpoints that are not removed, the latest.
        skip_bad_steps: steps with losses, gradients or weights that are not finite which the training may have, >= 0.
            After one it goes back to its latest checkpoint, and on with the batches after that step. 0 (default): the
            first one is an error.
        log_every: steps between log records; the first step has one too, and the last of a length in epochs or steps.
            On a GPU the host waits for the device in logged steps alone.
        shard: divide the trained weights, their optimiser states and checkpoints over the processes (FSDP2); see
            ``train.sharded``.
        shard_blocks: with ``shard``, have one block of a tower whole at a time, and not all weights during a step.
        shard_offload: with ``shard``, keep the parts, their gradients and optimiser states in the memory of the host,
            where the optimiser then runs.
        compile: run the blocks of towers compiled by torch; see ``train.layers``.
        log: "wandb" also sends the log to Weights & Biases; "" (default): to files alone.
        watch_every: steps between calls of ``watch``, see ``train``; 0: never; None: after every epoch.
            Never after the last step, when the result is measured in any case.

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
    layer_decay: float = 1.0
    accumulate: int = 1
    cached: bool = False
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    save_every: int | None = None
    keep: int = 2
    skip_bad_steps: int = 0
    log_every: int = 1
    watch_every: int | None = None
    log: Literal["", "wandb"] = ""
    shard: bool = False
    shard_blocks: bool = False
    shard_offload: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if sum(length is not None for length in (self.epochs, self.steps, self.seconds)) != 1:
            raise UsageError(
                f"The length of a training must be epochs, steps or seconds, got epochs={self.epochs}, "
                f"steps={self.steps} and seconds={self.seconds}: give one of the three."
            )
        for name in ("shard_blocks", "shard_offload"):
            if getattr(self, name) and not self.shard:
                raise UsageError(f"{name} says how weights are divided, and shard is False: give both, or neither.")
        if self.steps is not None:
            self.schedule.check_length(self.steps)
        counts = ("epochs", "steps", "batch", "accumulate", "patience", "save_every", "keep", "log_every")
        check(self, at_least(1), *counts)
        check(self, at_least(0), "watch_every", "skip_bad_steps")
        check(self, between(0, 1, "[)"), "ema")
        check(self, above(0), "seconds")
        check(self, between(0, 1, "(]"), "layer_decay")
        check(self, between(0, 1, "[)"), "betas")
        check(self, between(0, math.inf, "[)"), "eps", "lr", "decay")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)
