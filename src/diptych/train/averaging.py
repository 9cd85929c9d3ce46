"""Gradients that are averaged over the processes while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from diptych.core import MissingHook, World
from diptych.train.distributed import home

BUCKET = 25 * 2**20
"""Bytes of gradients that are sent together, as in torch's DistributedDataParallel."""


class Averaging:
    """Replaces the gradients of some parameters by their means over the processes.

    Gradients are sent in buckets, in an order that is the same in every process. Each bucket is sent when its last
    gradient is there, so that sending overlaps with the rest of the backward pass. A parameter that lacks a gradient in
    some processes has a gradient of 0 there; one that lacks it in all of them keeps none.

    torch's DistributedDataParallel does the same for a module whose ``forward`` is the step. It is not used, since
    steps of several phases, with several optimisers and parameters that a phase does not use, need special cases there.

    Args:
        parameters: trained ones that step together, in the order of the forward pass.
        size: bytes of a bucket.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], world: World, size: int = BUCKET) -> None:
        self._world = world
        self._buckets = _buckets(list(parameters)[::-1], size) if world.size > 1 else []
        self._number: dict[Tensor, int] = {p: i for i, bucket in enumerate(self._buckets) for p in bucket}
        self._missing: list[set[Tensor]] | None = None
        self._sent: list[tuple[Tensor, Any]] = []
        # The losses exchange tensors in the backward pass too. In a group of their own the gradients need no place
        # among those, which is another one in a process that lacks a gradient.
        self._group: Any = dist.new_group() if self._buckets else None
        self._hooks: list[Any] = [
            p.register_post_accumulate_grad_hook(self._ready)  # type: ignore[no-untyped-call]
            for p in self._number
        ]

    def start(self) -> None:
        """Send from now on what is ready: the next backward pass is the last one before ``finish``."""
        self._missing = [set(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """Send the rest, wait, and replace the gradients. Modified in place."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for _, work in self._sent:
            work.wait()
        present = iter(self._present())
        for bucket, (flat, _) in zip(self._buckets, self._sent, strict=True):
            for p, total in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                p.grad = total.div_(self._world.size).view_as(p) if next(present) else None
        self._missing, self._sent = None, []

    def _present(self) -> list[int]:
        """Return in how many processes each parameter has a gradient, which the hosts know without the device."""
        if not self._buckets:
            return []
        present = [p.grad is not None for bucket in self._buckets for p in bucket]
        counts = torch.tensor(present, dtype=torch.int64, device=home())
        dist.all_reduce(counts, group=self._group)
        return list(counts.tolist())

    def close(self) -> None:
        """Remove the hooks from the parameters."""
        for hook in self._hooks:
            hook.remove()
        if self._group is not None:
            dist.destroy_process_group(self._group)

    def _ready(self, p: Tensor) -> None:
        if self._missing is None:
            return
        if self._number[p] < len(self._sent):
            raise MissingHook(
                "A parameter got its gradient in two parts, and the first one was sent already: recompute activations "
                "with use_reentrant=False."
            )
        self._missing[self._number[p]].discard(p)
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = torch.cat([g.reshape(-1) for g in grads])
        self._sent.append((flat, dist.all_reduce(flat, group=self._group, async_op=True)))


def _buckets(parameters: list[nn.Parameter], size: int) -> list[list[nn.Parameter]]:
    """Return the parameters in order, in lists of one type and about ``size`` bytes."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for p in parameters:
        if not buckets or room <= 0 or buckets[-1][0].dtype != p.dtype:
            buckets.append([])
            room = size
        buckets[-1].append(p)
        room -= p.numel() * p.element_size()
    return buckets
