"""The training inside a method's ``fit``: it keeps no checkpoints, and what it learnt comes back as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core.data import Table
from diptych.core.run import Run
from diptych.core.train import Trainee
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
    """Train the trainee's module in place, in this process, without checkpoints or log, also where the caller switched
    gradients off.

    Args:
        trainee: what to train.
        data: rows.
        fit: the settings.
        run: seed, device and precision.
        parameters: names of the tensors that are returned; () where the module itself is used on; None: all of them.
        val: rows for early stopping.

    Returns:
        Name -> copy on the CPU, see ``copies``.

    Raises:
        MissingExtra, UsageError, DataError, Diverged: as ``train``.
    """
    with torch.enable_grad():
        train(trainee, data, fit, replace(run, out=None, workers=0), val=val)
    return copies(trainee.module(), parameters)


def copies(module: nn.Module, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return copies, on the CPU, of a module's parameters and buffers of these names; None: of all."""
    state = module.state_dict()
    return {name: state[name].detach().cpu().clone() for name in (state if names is None else names)}
