"""Which parameters an output depends on, by gradients, since libraries name the parts of towers differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


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
