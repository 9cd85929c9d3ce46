"""Losses over a large batch: seconds and peak memory of one step, whole and in blocks, beside open_clip's; each in a
process of its own.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

DIM, CHUNK = 512, 512


def step(loss: str, how: str, batch: int) -> Callable[[], tuple[float, float]]:
    """Return one forward and backward pass on random unit embeddings; it gives the loss and the norm of the images'
    gradient.
    """
    import torch
    from torch.nn.functional import normalize

    from diptych.nn.contrastive import sigmoid_pairs, softmax_pairs

    seed = torch.Generator().manual_seed(0)
    x, y = (torch.randn(batch, DIM, generator=seed).requires_grad_() for _ in range(2))
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    chunk = CHUNK if how == "chunked" else None

    def ours() -> Any:
        u, v = normalize(x, dim=-1), normalize(y, dim=-1)
        if loss == "siglip":
            return sigmoid_pairs(u, v, scale, bias, chunk=chunk)
        return (softmax_pairs(u, v, scale, chunk=chunk) + softmax_pairs(v, u, scale, chunk=chunk)) / 2

    def theirs() -> Any:
        from open_clip.loss import ClipLoss, SigLipLoss

        u, v = normalize(x, dim=-1), normalize(y, dim=-1)
        return SigLipLoss()(u, v, scale, bias) if loss == "siglip" else ClipLoss()(u, v, scale)

    def one() -> tuple[float, float]:
        for part in (x, y, scale, bias):
            part.grad = None
        value = theirs() if how == "open_clip" else ours()
        value.backward()
        assert x.grad is not None
        return float(value), float(x.grad.norm())

    return one


def measured(loss: str, how: str, batch: int, rounds: int) -> dict[str, float]:
    """Return loss, gradient, median seconds and the memory that the steps added to the process's peak, in MiB."""
    step(loss, how, 64)()  # libraries are loaded and threads started
    one = step(loss, how, batch)
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
def memory(loss: str, batch: int, rounds: int = 1) -> Iterator[Row]:
    """One step of a loss at a batch size: open_clip's, ours whole, ours in blocks of 512 rows.

    Raises:
        ValueError: the three differ in value or gradient.
    """
    found = {}
    for how in ("open_clip", "whole", "chunked"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.losses", loss, how, str(batch), str(rounds)],
            cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[how] = json.loads(done.stdout)
    for how, facts in found.items():
        for name in ("loss", "gradient"):
            if abs(facts[name] / found["open_clip"][name] - 1) > 1e-4:
                raise ValueError(
                    f"{how} differs from open_clip in its {name}: {facts[name]} and {found['open_clip'][name]}"
                )
    shares = {
        f"chunked / whole, {what}": found["chunked"][what] / max(found["whole"][what], 1e-9)
        for what in ("added_mib", "seconds")
    }
    yield Row(
        {},
        batch,
        "pairs",
        facts={"dim": DIM, "chunk": CHUNK, "steps": found, **shares},
    )


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
