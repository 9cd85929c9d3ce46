"""BatchNorm that sees the rows of all processes, so that several train what one would.

mean = sum_r n_r mean_r / sum_r n_r
var  = sum_r n_r E_r[(x - mean)^2] / sum_r n_r          over the processes r, each with n_r values a channel
y    = (x - mean) / sqrt(var + eps) weight + bias
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from diptych.core import MissingHook, World
from diptych.train.distributed import gather

STATISTICS = ("running_mean", "running_var")
"""Buffers of a BatchNorm that follow the weights."""


@contextlib.contextmanager
def synchronised(module: nn.Module, world: World) -> Iterator[None]:
    """Have every BatchNorm of a module in training mode take its statistics over all processes. Modified for a time.

    torch's SyncBatchNorm does the same on GPUs alone; where a module has that one, it stays.

    Raises:
        MissingHook: a BatchNorm of another library computes something else as well.
    """
    changed: list[Any] = []
    try:
        for name, m in module.named_modules() if world.size > 1 else ():
            if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm):
                changed.append(m)
                changed[-1].forward = partial(_forward, m, _after(name, m), gather(world))
        yield
    finally:
        for m in changed:
            m.__dict__.pop("forward", None)


def statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return name -> running statistic of every BatchNorm of a module; the same tensors.

    Example:
        >>> sorted(statistics(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
        ['1.running_mean', '1.running_var']
    """
    norms = [(name, m) for name, m in module.named_modules() if isinstance(m, _BatchNorm)]
    named = {f"{name}.{kind}".lstrip("."): getattr(m, kind) for name, m in norms for kind in STATISTICS}
    return {name: t for name, t in named.items() if t is not None}


def _after(name: str, m: Any) -> Callable[[Tensor], Tensor] | None:
    """Return what a BatchNorm does after it has normalised; None: nothing."""
    if type(m).forward is _BatchNorm.forward:
        return None
    from timm.layers import BatchNormAct2d

    if type(m).forward is BatchNormAct2d.forward:
        return nn.Sequential(m.drop, m.act)
    raise MissingHook(
        f"{name} is a {type(m).__name__}, whose statistics cannot be taken over several processes: train in one."
    )


def _forward(m: Any, after: Callable[[Tensor], Tensor] | None, together: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    """Return what the forward pass of a BatchNorm returns, with statistics of all processes in training mode."""
    if not m.training:
        return type(m).forward(m, x)
    with torch.autocast(x.device.type, enabled=False):
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        rows = together(wide.new_tensor([[x.numel() // x.shape[1]]]))
        share = rows / rows.sum()
        mean = (together(wide.mean(dims)[None]) * share).sum(0)
        centred = wide - mean.view(shape)
        variance = (together(centred.square().mean(dims)[None]) * share).sum(0)
        y = centred * torch.rsqrt(variance + m.eps).view(shape)
        if m.affine:
            y = y * m.weight.view(shape) + m.bias.view(shape)
    _follow(m, mean.detach(), variance.detach(), rows.sum())
    y = y.to(x.dtype)
    return y if after is None else after(y)


@torch.no_grad()
def _follow(m: Any, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
    """Move the running statistics as torch does, the variance without bias."""
    if not m.track_running_stats or m.running_mean is None:
        return
    m.num_batches_tracked.add_(1)
    share = 1.0 / m.num_batches_tracked if m.momentum is None else m.momentum
    for running, now in ((m.running_mean, mean), (m.running_var, variance * rows / (rows - 1).clamp(min=1))):
        running.mul_(1 - share).add_(now.to(running.dtype) * share)
