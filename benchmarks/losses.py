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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

DIM, CHUNK = 512, 512


def step(loss: str, how: str, batch: int, rank: int = 0, world: int = 1) -> Callable[[], tuple[float, float]]:
    """Return one forward and backward pass on random unit embeddings; it gives the loss and the norm of the images'
    gradient, of this process's share.

    open_clip's form of several processes is ``local_loss`` with ``gather_with_grad``, and its SigLIP sends the texts
    round.
    """
    import torch
    from torch.nn.functional import normalize

    from diptych.core.run import World
    from diptych.nn.contrastive import sigmoid_pairs, softmax_pairs
    from diptych.train.distributed import gather

    seed, batch = torch.Generator().manual_seed(rank), batch // world
    together, first = gather(World(rank, world)), rank * batch
    x, y = (torch.randn(batch, DIM, generator=seed).requires_grad_() for _ in range(2))
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    chunk = CHUNK if how == "chunked" else None

    def ours() -> Any:
        u, v = normalize(x, dim=-1), normalize(y, dim=-1)
        if loss == "siglip":
            return sigmoid_pairs(u, together(v), scale, bias, first, chunk)
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
    """Return loss, gradient, median seconds and the memory that the steps added to the process's peak, in MiB."""
    step(loss, how, 64, rank, world)()  # libraries are loaded and threads started
    one = step(loss, how, batch, rank, world)
    before = memory_kib("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading libraries (Linux)
    value, gradient = one()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        one()
        seconds.append(time.perf_counter() - start)
    return {
        "loss": value, "gradient": gradient, "seconds": statistics.median(seconds),
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
    found = {}
    for how in ("open_clip", "whole", "chunked"):
        found[how] = together(loss, how, batch, rounds, world)
    for how, facts in found.items():
        for name in ("loss", "gradient"):
            if abs(facts[name] / found["open_clip"][name] - 1) > 1e-4:
                raise ValueError(
                    f"{how} differs from open_clip in its {name}: {facts[name]} and {found['open_clip'][name]}"
                )
    shares = {
        f"{ours} / {theirs}, {what}": found[ours][what] / max(found[theirs][what], 1e-9)
        for ours, theirs in (("chunked", "whole"), ("whole", "open_clip"), ("chunked", "open_clip"))
        for what in ("added_mib", "seconds")
    }
    yield Row(
        {},
        batch,
        "pairs",
        facts={"dim": DIM, "chunk": CHUNK, "processes": world, "steps": found, **shares},
    )


def together(loss: str, how: str, batch: int, rounds: int, world: int) -> dict[str, float]:
    """Return what the first of some new processes measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "benchmarks.losses", loss, how, str(batch), str(rounds)]
    asked = [[*words, "--rank", str(rank), "--world", str(world), "--port", port] for rank in range(world)]
    root = Path(__file__).parents[1]
    running = [subprocess.Popen(a, cwd=root, stdout=subprocess.PIPE, text=True) for a in asked]
    said = [process.communicate()[0] for process in running]
    if failed := [process.args for process in running if process.returncode]:
        raise ValueError(f"{failed[0]} failed")
    first: dict[str, float] = json.loads(said[0])
    return first


def main() -> None:
    """Measure one way in this process, which may be one of several."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loss")
    parser.add_argument("how")
    parser.add_argument("batch", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--port", default="")
    a = parser.parse_args()
    if a.world > 1:
        from torch import distributed

        os.environ.update(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=a.port, RANK=str(a.rank), WORLD_SIZE=str(a.world)
        )  # fmt: skip
        distributed.init_process_group("gloo")
    print(json.dumps(measured(a.loss, a.how, a.batch, a.rounds, a.rank, a.world)))
    if a.world > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
