"""Losses over a large batch: seconds and peak memory of one step, whole and in blocks, beside open_clip's; each in a
process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

DIM, CHUNK = 512, 512


def step(loss: str, how: str, batch: int, rank: int = 0, world: int = 1) -> Callable[[], tuple[float, float]]:
    """Return one forward and backward pass on random unit embeddings; it gives the loss and the norm of the images'
    gradient, of this process's share.

    open_clip's form of several processes is ``local_loss`` with ``gather_with_grad``. Its SigLIP sends the texts round
    and keeps them, ours does not keep them.
    """
    import torch
    from torch.nn.functional import normalize

    from diptych.core import World
    from diptych.nn.contrastive import sigmoid_pairs, sigmoid_ring, softmax_pairs
    from diptych.train.distributed import gather
    from diptych.train.ring import ring

    seed, batch = torch.Generator().manual_seed(rank), batch // world
    together, around, first = gather(World(rank, world)), ring(World(rank, world)), rank * batch
    x, y = (torch.randn(batch, DIM, generator=seed).requires_grad_() for _ in range(2))
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    chunk = CHUNK if how == "chunked" else None

    def ours() -> Any:
        u, v = normalize(x, dim=-1), normalize(y, dim=-1)
        if loss == "siglip" and around is not None:
            return sigmoid_ring(u, v, scale, bias, around, chunk)
        if loss == "siglip":
            return sigmoid_pairs(u, v, scale, bias, first, chunk)
        there = softmax_pairs(u, together(v), scale, first, chunk)
        return (there + softmax_pairs(v, together(u), scale, first, chunk)) / 2

    def theirs() -> Any:
        from open_clip.loss import ClipLoss, SigLipLoss

        u, v = normalize(x, dim=-1), normalize(y, dim=-1)
        if loss == "siglip":
            return SigLipLoss(rank=rank, world_size=world)(u, v, scale, bias)
        return ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)(u, v, scale)

    def one() -> tuple[float, float]:
        for part in (x, y, scale, bias):
            part.grad = None
        value = theirs() if how == "open_clip" else ours()
        value.backward()
        assert x.grad is not None
        return float(value.detach()), float(x.grad.norm())

    return one


def measured(loss: str, how: str, batch: int, rounds: int, rank: int = 0, world: int = 1) -> dict[str, float]:
    """Return loss, gradient, median seconds, of the clock and of this process, and the memory that the steps added to
    the process's peak, in MiB.
    """
    step(loss, how, 64, rank, world)()  # libraries are loaded and threads started
    one = step(loss, how, batch, rank, world)
    before = memory_kib("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading libraries (Linux)
    value, gradient = one()
    seconds, processor = [], []
    for _ in range(rounds):
        start, process_start = time.perf_counter(), time.process_time()
        one()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - process_start)
    return {
        "loss": value, "gradient": gradient, "seconds": statistics.median(seconds),
        "processor_seconds": statistics.median(processor),
        "added_mib": (memory_kib("VmHWM") - before) / 1024,
    }  # fmt: skip


def memory_kib(which: str) -> int:
    """Return the resident memory of this process, "VmRSS" now or "VmHWM" at its peak; the peak for both where the
    system does not tell.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(which)).split()[1])
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def memory(loss: str, batch: int, rounds: int = 1, world: int = 1) -> Iterator[Row]:
    """One step of a loss at a batch size, of all processes: open_clip's, ours whole, ours in blocks of 512 rows.

    Raises:
        ValueError: the three differ in value or gradient.
    """
    results = {}
    for how in ("open_clip", "whole", "chunked"):
        results[how] = together("losses", [loss, how, batch, rounds], world)
    for how, facts in results.items():
        for name in ("loss", "gradient"):
            if abs(facts[name] / results["open_clip"][name] - 1) > 1e-4:
                raise ValueError(
                    f"{how} differs from open_clip in its {name}: {facts[name]} and {results['open_clip'][name]}"
                )
    shares = {
        f"{ours} / {theirs}, {what}": results[ours][what] / max(results[theirs][what], 1e-9)
        for ours, theirs in (("chunked", "whole"), ("whole", "open_clip"), ("chunked", "open_clip"))
        for what in ("added_mib", "seconds", "processor_seconds")
    }
    yield Row(
        {},
        batch,
        "pairs",
        facts={"dim": DIM, "chunk": CHUNK, "processes": world, "steps": results, **shares},
    )


def together(module: str, given: Sequence[object], world: int) -> dict[str, Any]:
    """Return what the first of some new processes measured, each of which runs ``main`` of a module of benchmarks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", f"benchmarks.{module}", *map(str, given)]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world)}
    root = Path(__file__).parents[1]
    running = [
        subprocess.Popen(
            words, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, **place, "RANK": str(rank)}
        )
        for rank in range(world)
    ]
    outputs = [process.communicate()[0] for process in running]
    if failed := [process.args for process in running if process.returncode]:
        raise ValueError(f"{failed[0]} failed")
    first: dict[str, Any] = json.loads(outputs[0])
    return first


def main() -> None:
    """Measure one way in this process, which may be one of several."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loss")
    parser.add_argument("how")
    parser.add_argument("batch", type=int)
    parser.add_argument("rounds", type=int)
    a = parser.parse_args()
    from diptych.core import Run
    from diptych.train.distributed import join

    world = join(Run()).world
    print(json.dumps(measured(a.loss, a.how, a.batch, a.rounds, world.rank, world.size)))


if __name__ == "__main__":
    main()
