"""Some processes on loopback, joined by gloo, that each run one function."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed as dist

from diptych.core import Run
from diptych.train.distributed import join


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def quick_start() -> Any:
    """Return a way to start processes in which torch and the training are already imported, once for all of them.

    A process of it sees the environment of the first call.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["open_clip", "torch.distributed.fsdp", "diptych.train.loop", "diptych.train.pair"])
    return context


def together(count: int, function: Callable[..., Any], *given: Any) -> list[Any]:
    """Return function(run, *given) of each of ``count`` processes, in rank order; results must be plain data."""
    context = quick_start()
    queue, port = context.SimpleQueue(), free_port()
    workers = [context.Process(target=_process, args=(r, count, port, queue, function, given)) for r in range(count)]
    for w in workers:
        w.start()
    answers = dict(queue.get() for _ in workers)
    for w in workers:
        w.join(300)
    if error := next((a for a in answers.values() if isinstance(a, Exception)), None):
        raise error
    assert [w.exitcode for w in workers] == [0] * count
    return [answers[rank] for rank in range(count)]


def _process(rank: int, count: int, port: str, queue: Any, function: Callable[..., Any], given: Any) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank)
    )
    torch.set_num_threads(1)
    try:
        answer = function(join(Run(workers=0)), *given)
    except Exception as error:  # the test shows it, and does not wait for ever
        answer = RuntimeError("".join(traceback.format_exception(error)))
    queue.put((rank, answer))
    if not isinstance(answer, Exception):
        dist.barrier()
    dist.destroy_process_group()
