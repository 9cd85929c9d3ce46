"""Sums over the rows of all processes that go round a ring, so that no process has those of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from diptych.core import Block, Ring, World


def ring(world: World) -> Ring | None:
    """Return the function that sums a block over the rows of all W processes, with gradient; None for one process.

    Called with (block, rows, inputs), it returns the sum over r of block(rows_r, *inputs): a scalar of this process's
    inputs and the (B, ...) rows of process r. The rows of two processes are in memory at a time. The backward pass
    sends the rows round again with their gradient, and computes each block again.

    B and the size of a row must be the same in every process.

    Source: Zhai et al. 2023, section 3.3.
    """
    return None if world.size == 1 else _around


def _around(block: Block, rows: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    total: Tensor = _Ring.apply(block, rows.contiguous(), *inputs)  # type: ignore[no-untyped-call]
    return total


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: Block, rows: Tensor, *inputs: Tensor) -> Tensor:
        ctx.block = block
        ctx.save_for_backward(rows, *inputs)
        values = []
        for left in reversed(range(dist.get_world_size())):
            coming = _passed(rows, 0) if left else None
            values.append(block(rows, *inputs))
            rows = coming.wait() if coming else rows
        return torch.stack(values).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        rows, *inputs = ctx.saved_tensors
        # The loss of every process depends on these rows: their gradient is collected on the way round.
        gradient, sums = torch.zeros_like(rows), [torch.zeros_like(x) for x in inputs]
        for left in reversed(range(dist.get_world_size())):
            coming = _passed(rows, 0) if left else None
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in (rows, *inputs)]
                value = ctx.block(*leaves)
            first, *others = torch.autograd.grad(value, leaves, grad)
            for total, part in zip((gradient, *sums), (first, *others), strict=True):
                total += part
            gradient = _passed(gradient, 1).wait()
            rows = coming.wait() if coming else rows
        return None, gradient, *sums


class _Passed:
    """A tensor on its way to the next process, while that of the process before comes in."""

    def __init__(self, coming: Tensor, works: list[Any]) -> None:
        self._coming, self._works = coming, works

    def wait(self) -> Tensor:
        """Return what came."""
        for work in self._works:
            work.wait()
        return self._coming


def _passed(x: Tensor, tag: int) -> _Passed:
    rank, size = dist.get_rank(), dist.get_world_size()
    coming = torch.empty_like(x)
    pair = [
        dist.P2POp(dist.isend, x, (rank + 1) % size, tag=tag),
        dist.P2POp(dist.irecv, coming, (rank - 1) % size, tag=tag),
    ]
    return _Passed(coming, dist.batch_isend_irecv(pair))
