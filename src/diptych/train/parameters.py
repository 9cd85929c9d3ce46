"""Training inside a method's ``fit``: without checkpoints, and with plain tensors as the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import Run, Table, Trainee
from diptych.train.loop import train
from diptych.train.schedule import Fit


def train_parameters(
    trainee: Trainee,
    data: Table[Any],
    fit: Fit,
    run: Run,
    parameters: Iterable[str] | None = None,
    *,
    val: Table[Any] | None = None,
) -> dict[str, Tensor]:
    """Train the trainee's module without checkpoints or log, and return its tensors. Modified in place.

    Gradients are switched on for the training, even inside ``torch.no_grad``.

    Args:
        trainee: what is trained.
        data: rows.
        fit: the settings.
        run: seed, device and precision; no workers are used.
        parameters: names of the tensors that are returned; () returns none, None returns all.
        val: rows for early stopping.

    Returns:
        Name -> copy of the tensor on the CPU, see ``copies``.

    Raises:
        MissingExtra, UsageError, DataError, Diverged: as ``train``.
    """
    with torch.enable_grad():
        train(trainee, data, fit, replace(run, out=None, workers=0), val=val)
    return copies(trainee.module(), parameters)


def copies(module: nn.Module, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return copies on the CPU of a module's parameters and buffers of these names; None returns all.

    Example:
        >>> sorted(copies(nn.Linear(2, 1)))
        ['bias', 'weight']
    """
    state = module.state_dict()
    return {name: state[name].detach().cpu().clone() for name in (state if names is None else names)}
