"""Training in several processes, with the same batches and gradients as in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch import distributed as dist

from diptych.core import DataError, DiptychError, Run, UsageError, World


def join(run: Run) -> Run:
    """Join the processes of torchrun, and return the run with its rank and their number.

    A single process gets the run unchanged. Processes use gloo on CPUs and NCCL on GPUs.

    Raises:
        UsageError: the environment names several processes, and not how they meet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return run
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and {', '.join(missing)} is not set: start the processes with "
            f"torchrun -m diptych.cli ..., or unset WORLD_SIZE."
        )
    on_gpu = run.device.startswith("cuda")
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else run.device
    if on_gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # Numbers of the host meet by gloo beside NCCL, so that nothing waits for the GPU that need not.
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    return replace(run, device=device, world=World(dist.get_rank(), dist.get_world_size()))


def check(run: Run) -> None:
    """Check that a run's number of processes is that of the process group.

    Raises:
        UsageError: it is not, or several processes were started and would each write a training to one folder.
    """
    joined = dist.is_available() and dist.is_initialized()
    real = dist.get_world_size() if joined else 1
    if run.world.size != real:
        raise UsageError(
            f"The run has {run.world.size} processes, but {real} are joined: use the run of "
            f"train.distributed.join(run)."
        )
    started = os.environ.get("WORLD_SIZE", "1")
    if not joined and started != "1" and run.out is not None:
        raise UsageError(
            f"WORLD_SIZE is {started}, and the processes are not joined, so each would train alone in {run.out}: use "
            f"the run of train.distributed.join(run)."
        )


class _Gather(torch.autograd.Function):
    """Concatenation over processes; the gradient of a row is its sum over the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        # Every process's loss depends on every row, so a row's gradient is the sum over processes; the mean over
        # processes that the loop takes of all parameter gradients then gives the gradient of the mean loss.
        return _scattered(grads[0])


def _scattered(x: Tensor) -> Tensor:
    """Return this process's rows of the sum of (W * B, ...) tensors over the processes."""
    parts = [part.contiguous() for part in x.chunk(dist.get_world_size())]
    share = torch.empty_like(parts[dist.get_rank()])
    try:
        dist.reduce_scatter(share, parts)
    except RuntimeError:  # gloo of earlier versions of torch cannot
        total = x.contiguous().clone()
        dist.all_reduce(total)
        share = total.chunk(len(parts))[dist.get_rank()]
    return share


def gather(world: World) -> Callable[[Tensor], Tensor]:
    """Return the function that concatenates the rows of all W processes in rank order, with gradient.

    It maps (B, ...) to (W * B, ...); B and the size of a row must be the same in every process.
    """
    return _alone if world.size == 1 else _together


def _alone(x: Tensor) -> Tensor:
    return x


def _together(x: Tensor) -> Tensor:
    joined: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return joined


def gather_ragged(world: World) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function that concatenates rows whose number differs between the processes, with gradient.

    It maps (b, ...) to (W * M, ...) and (W * M,) bool, M being the largest b: the rows of each process in rank order,
    then 0 up to M, where the mask is False. For one process it returns all rows, and True for each.

    Args:
        world: rank and number of processes.
    """
    together = gather(world)

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        of_this_process = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if world.size == 1:
            return x, of_this_process
        most = torch.tensor(len(x), device=x.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        short = int(most) - len(x)
        padded = torch.cat([x, x.new_full((short, *x.shape[1:]), 0.0)])
        mask = torch.cat([of_this_process, of_this_process.new_zeros(short)])
        return together(padded), together(mask.to(x.dtype)) > 0

    return function


def most(values: Sequence[float], world: World) -> list[int]:
    """Return the largest of each whole number over the processes."""
    if world.size == 1:
        return [int(v) for v in values]
    largest = torch.tensor([int(v) for v in values], device=home())
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return [int(v) for v in largest.tolist()]


def from_first(make: Callable[[], NDArray[np.int64]], world: World) -> NDArray[np.int64]:
    """Return whole numbers that the first process makes and sends to the others, which do not make them.

    Raises:
        DataError: the first process could not; it raises its own error.
    """
    if world.size == 1:
        return make()
    values, trouble = np.zeros(0, dtype=np.int64), None
    if world.rank == 0:
        try:
            values = make()
        except DiptychError as error:
            trouble = error
    failed, size = most([trouble is not None, values.size], world)
    if trouble is not None:
        raise trouble
    if failed:
        raise DataError("The first process cannot make what all need: see what it says, and mend it.")
    sent = torch.from_numpy(np.ascontiguousarray(values)) if world.rank == 0 else torch.zeros(size, dtype=torch.int64)
    sent = sent.to(home())
    dist.broadcast(sent, src=0)
    return sent.cpu().numpy()


def means(values: Sequence[Tensor], world: World) -> list[float]:
    """Return the mean of each scalar over the processes, by one read from the device."""
    return [float(v) for v in reduced(values, world).tolist()] if values else []


def reduced(values: Sequence[Tensor], world: World) -> Tensor:
    """Return the mean of each of n >= 1 scalars over the processes, (n,), without a read from the device."""
    kind = torch.float32 if values[0].device.type == "mps" else torch.float64
    together = torch.stack([v.detach().to(kind) for v in values])
    if world.size > 1:
        if together.device.type != "cuda" or "nccl" not in dist.get_backend_config():
            together = together.to(home())
        dist.all_reduce(together)
    return together / world.size


def mean(value: float, world: World) -> float:
    """Return the mean of a value over the processes."""
    return means([torch.tensor(value, dtype=torch.float64)], world)[0]


def home() -> str:
    """Return the device of numbers of the host that the process group exchanges: the CPU, unless it has NCCL alone."""
    return "cpu" if "gloo" in dist.get_backend_config() else "cuda"


def equalise(module: nn.Module, world: World, *, buffers_only: bool = False) -> None:
    """Copy the weights and buffers of process 0, or its buffers alone, to all processes. Modified in place."""
    if world.size == 1:
        return
    tensors = [*module.buffers(), *([] if buffers_only else module.parameters())]
    with torch.no_grad():
        for t in tensors:
            dist.broadcast(t.data, src=0)
