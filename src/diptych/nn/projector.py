"""Heads of self-supervised losses: small networks whose batch norm sees the rows of all processes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

_EPS = 1e-5
"""Added to the variance; torch's default."""


def _alone(x: Tensor) -> Tensor:
    return x


class GatheredNorm(nn.Module):
    """Normalises each column by the mean and the variance of the batch, over the rows of all processes.

        y = (x - mean) / sqrt(var + eps) weight + bias

    It keeps no running statistics, so training and evaluation are the same: the heads are not used after the training,
    and running means of a short one are those of its start. torch's SyncBatchNorm does not run on CPUs.

    Args:
        width: C.
        gather: (1, C) -> (W, C), the rows of W processes in rank order, with gradient; the number of rows must be the
            same in all of them. Default: one process.

    Source: Ioffe and Szegedy 2015, algorithm 1.

    Example:
        >>> y = GatheredNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> y.round(decimals=3).tolist()  # a constant column becomes 0
        [[-1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, width: int, gather: Callable[[Tensor], Tensor] = _alone) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.gather = gather

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C) normalised rows, in float32 or float64."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            mean = self.gather(x.mean(0, keepdim=True)).mean(0)
            variance = self.gather((x - mean).square().mean(0, keepdim=True)).mean(0)
            return (x - mean) * torch.rsqrt(variance + _EPS) * self.weight + self.bias


def projector(
    width: int, hidden: int, out: int, layers: int, gather: Callable[[Tensor], Tensor] = _alone
) -> nn.Sequential:
    """Return linear layers without bias, with ``GatheredNorm`` and ReLU between them: (B, width) -> (B, out).

    Args:
        width: of the input.
        hidden: width between the layers.
        out: width of the output, which is not normalised.
        layers: number of linear layers, >= 1.
        gather: as for ``GatheredNorm``.

    Source: Grill et al. 2020 (BYOL), section 3.3 (two layers); Chen et al. 2020 (SimCLR v2), section 2 (three).

    Example:
        >>> [type(m).__name__ for m in projector(4, 8, 2, layers=2)]
        ['Linear', 'GatheredNorm', 'ReLU', 'Linear']
    """
    sizes = [width, *[hidden] * (layers - 1), out]
    parts: list[nn.Module] = []
    for source, target in pairwise(sizes):
        parts += [nn.Linear(source, target, bias=False), GatheredNorm(target, gather), nn.ReLU()]
    return nn.Sequential(*parts[:-2])
