"""The settings of the loop where a user gives few of them: the same on the command line and in Python."""

from __future__ import annotations

from typing import Any

from diptych.core import Objective, Recipe, UsageError
from diptych.train.schedule import Fit, Schedule

FULL_RATE, HEAD_RATE, SCRATCH_RATE = 1e-5, 3e-4, 5e-4
"""Learning rates of whole towers, of heads, and of random weights."""
WARMUP = Schedule(warmup=20, warmup_share=0.1)
"""The usual warm-up: a training of a few dozen steps would otherwise end before its rate is reached."""
USUAL = {"schedule": WARMUP, "clip": 1.0, "save_every": 50}
"""Settings of ``Fit`` that ``finetune`` and ``pretrain`` have by default, and that ``Fit`` has not."""


def rate_for(parts: str, *, scratch: bool = False) -> float:
    """Return the learning rate of a training where none is given.

    Args:
        parts: that learn, "heads" or others.
        scratch: whether the weights are random.

    Raises:
        UsageError: heads on random towers.

    Example:
        >>> rate_for("all"), rate_for("heads"), rate_for("all", scratch=True)
        (1e-05, 0.0003, 0.0005)
    """
    if scratch and parts == "heads":
        raise UsageError("Heads on random towers learn nothing: leave out {scratch}, or {parts} heads.")
    return HEAD_RATE if parts == "heads" else SCRATCH_RATE if scratch else FULL_RATE


def embeddings_alone(system: Objective | Recipe) -> bool:
    """Return whether a system is a loss of embeddings alone, so that a batch may be embedded in parts."""
    return isinstance(system, Objective) and not system.tokens and "LanguageModel" not in system.card.needs.parts


def fit_of(
    lr: float,
    batch: int,
    epochs: int,
    decay: float,
    *,
    steps: int | None = None,
    cached: bool = False,
    accumulate: int = 1,
    watch_every: int | None = None,
    **more: Any,
) -> Fit:
    """Return the settings of a loop.

    Args:
        lr: learning rate.
        batch: rows of one batch.
        epochs: passes over the rows, where there are no ``steps``.
        decay: weight decay.
        steps: of the training, in place of ``epochs``; it is then measured every tenth of them.
        cached: whether accumulated batches may be one for the loss, see ``embeddings_alone``.
        accumulate: batches of one step.
        watch_every: steps between measurements; None: each epoch, or a tenth of ``steps``.
        more: other settings of ``Fit``, in place of ``USUAL``.

    Raises:
        UsageError: a number is out of its range.

    Example:
        >>> fit = fit_of(1e-5, 64, 5, 0.0, steps=200)
        >>> fit.epochs, fit.watch_every, fit.schedule.warmup
        (None, 20, 20)
    """
    every = max(1, steps // 10) if watch_every is None and steps is not None else watch_every
    return Fit(
        lr=lr,
        batch=batch,
        epochs=epochs if steps is None else None,
        steps=steps,
        decay=decay,
        accumulate=accumulate,
        cached=cached and accumulate > 1,
        watch_every=every,
        **{**USUAL, **more},
    )
