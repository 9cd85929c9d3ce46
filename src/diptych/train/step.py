"""The trainee of most methods: one module, one loss, and one view of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Generator, Tensor, nn

from diptych.core import Clock, ParamGroup, Row, Trainee

View = Callable[[Row, Generator], Mapping[str, Any]]
"""From a row and a generator to one item of a batch."""
Loss = Callable[[Mapping[str, Any]], Mapping[str, Tensor]]
"""From a batch to losses by name."""


class Step(Trainee):
    """Trains a module by a loss of the batch.

    Write a ``Trainee`` instead where there are phases, a sampler, or work after a step.

    Args:
        module: contains the trained parameters.
        view: from a row and a generator to one item of a batch, see ``Trainee.views``.
        loss: from a batch to losses by name, see ``Trainee.losses``; it uses the module.
        groups: groups of trained parameters; None (default) is one group of all.

    Example:
        >>> import torch
        >>> from diptych.core import Column, Table, Texts
        >>> from diptych.core import Run
        >>> from diptych.features.vectors import Vectors
        >>> from diptych.train.parameters import train_parameters
        >>> from diptych.train.schedule import Fit
        >>> line = torch.nn.Linear(1, 1)
        >>> x = Vectors(torch.tensor([[0.0], [1.0]]), Texts(("a", "b")))
        >>> step = Step(line, lambda row, g: {"x": row.item}, lambda b: {"square": (line(b["x"]) - 3).square().mean()})
        >>> learnt = train_parameters(step, Table(x), Fit(0.1, 2, 400, optimizer="adam", decay=0.0), Run())
        >>> bool((line(x.values) - 3).abs().max() < 0.1), sorted(learnt)
        (True, ['bias', 'weight'])
    """

    def __init__(self, module: nn.Module, view: View, loss: Loss, groups: Sequence[ParamGroup] | None = None) -> None:
        self._module, self._view, self._loss = module, view, loss
        self._groups = groups if groups is not None else (ParamGroup(tuple(n for n, _ in module.named_parameters())),)

    def module(self) -> nn.Module:
        """Return the module."""
        return self._module

    def groups(self) -> list[ParamGroup]:
        """Return the groups."""
        return list(self._groups)

    def views(self, row: Row, g: Generator) -> Mapping[str, Any]:
        """Return the view of a row."""
        return self._view(row, g)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the losses of a batch, in the one phase."""
        return self._loss(batch)
