"""Networks of fitted systems: how they run, a copy with weights of its own, and the parameters behind an output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from diptych.core import Backbone, Run


def reached(module: nn.Module, *outputs: Callable[[], Tensor], among: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the names, in the module's order, of its parameters that get a gradient from an output.

    Args:
        module: the module with the parameters; their flags ``requires_grad`` are restored.
        outputs: functions that compute a tensor from them.
        among: names of the parameters to consider; None: all.
    """
    named = dict(module.named_parameters())
    candidates = list(named if among is None else among)
    flags = {name: p.requires_grad for name, p in named.items()}
    names = set[str]()
    try:
        for name in candidates:
            named[name].requires_grad_(True)
        for output in outputs:
            with torch.enable_grad():
                total = output().square().sum()
            if total.requires_grad:
                parameters = [named[name] for name in candidates]
                grads: tuple[Tensor | None, ...] = torch.autograd.grad(total, parameters, allow_unused=True)
                names |= {name for name, grad in zip(candidates, grads, strict=True) if grad is not None}
    finally:
        for name, p in named.items():
            p.requires_grad_(flags[name])
    return tuple(name for name in named if name in names)


def twin_of(backbone: Backbone) -> Backbone:
    """Return a copy of a backbone, which training may change while the backbone stays as it is.

    Raises:
        MissingHook: the backbone cannot be rebuilt.
    """
    twin = backbone.rebuild(copy.deepcopy(backbone.module()), backbone.spec)
    assert isinstance(twin, Backbone)  # rebuild keeps the kind
    return twin


@contextmanager
def inference(run: Run) -> Iterator[None]:
    """Compute without gradients, and in the precision of the run.

    Example:
        >>> layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
        >>> with inference(Run(precision="bf16")):
        ...     y = layer(x)
        >>> y.dtype, y.requires_grad
        (torch.bfloat16, False)
    """
    kind = torch.device(run.device).type
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=run.precision == "bf16"):
        yield
