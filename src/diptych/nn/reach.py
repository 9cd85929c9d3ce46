"""Which parameters an output hangs on: libraries name the parts of their towers in many ways, gradients know them
all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def reached(module: nn.Module, output: Callable[[], Tensor]) -> tuple[str, ...]:
    """Return the names of the module's parameters that get a gradient from an output; flags come back as they were.

    Args:
        module: holds the parameters.
        output: computes a tensor from them.
    """
    named = dict(module.named_parameters())
    flags = {name: p.requires_grad for name, p in named.items()}
    try:
        with torch.enable_grad():
            module.requires_grad_(True)
            total = output().square().sum()
            grads: tuple[Tensor | None, ...] = (None,) * len(named)
            if total.requires_grad:
                grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    finally:
        for name, p in named.items():
            p.requires_grad_(flags[name])
    return tuple(name for name, grad in zip(named, grads, strict=True) if grad is not None)
