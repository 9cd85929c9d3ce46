"""Gradients of two processes, averaged after the backward pass and during it, beside torch's
DistributedDataParallel.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.losses import together
from benchmarks.measure import Row

WORDS = ("a red square", "two dogs on a beach", "an old street at night", "a small green circle")


@contextlib.contextmanager
def steps(name: str, pairs: int, rounds: int) -> Iterator[Row]:
    """Forward and backward pass of clip-loss and the mean of its gradients, in two processes; the three take turns.

    Args:
        name: of a backbone.
        pairs: of a process.
        rounds: after one that does not count.

    Raises:
        ValueError: the three give unlike gradients.
    """
    result = together("averages", [name, pairs, rounds], 2)
    seconds = {how: statistics.median(runs) for how, runs in result["runs"].items()}
    norms = result["norms"]
    if max(norms.values()) / min(norms.values()) - 1 > 1e-6:
        raise ValueError(f"the gradients differ: {norms}")
    ratios = {f"{how} / after, seconds": seconds[how] / seconds["after"] for how in ("during", "torch")}
    yield Row({}, 2 * pairs, "pairs", facts={"processes": 2, **result, "seconds": seconds, **ratios})


def measured(name: str, pairs: int, rounds: int) -> dict[str, Any]:
    """Return seconds of each step, the norm of a mean gradient, and the number of trained parameters."""
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    from diptych.backbones.sources.load import load
    from diptych.core import Clock, Run
    from diptych.methods.pretrain.clip_loss import CLIPLoss
    from diptych.train.averaging import Averaging
    from diptych.train.distributed import join
    from diptych.train.pair import PairTrainee

    run = join(Run())
    space: Any = load(name)
    trainee, clock = PairTrainee(space, CLIPLoss(), run), Clock(0, 1, 0, torch.Generator())
    g = torch.Generator().manual_seed(run.world.rank)
    batch = {
        "image": torch.rand(pairs, 3, space.image.size, space.image.size, generator=g),
        "text": space.text.inputs([WORDS[i % len(WORDS)] for i in range(pairs)]),
    }

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trained = trainee.module()

        def forward(self) -> Any:
            return trainee.losses(batch, "main", clock)

    parameters = list(trainee.module().parameters())
    called = Called()
    distributed = DistributedDataParallel(called)  # it has no buffers

    averaging = Averaging(parameters, run.world)

    def ours(during: bool) -> None:
        total = sum(trainee.losses(batch, "main", clock).values())
        if during:
            averaging.start()
        total.backward()  # type: ignore[union-attr]
        averaging.finish()

    def theirs() -> None:
        sum(distributed().values()).backward()

    ways: dict[str, Callable[[], None]] = {"after": lambda: ours(False), "during": lambda: ours(True), "torch": theirs}
    runs: dict[str, list[float]] = {how: [] for how in ways}
    norms: dict[str, float] = {}
    for turn in range(-1, rounds):
        for how, step in ways.items():
            for p in parameters:
                p.grad = None
            torch.distributed.barrier()
            start = time.perf_counter()
            step()
            if turn >= 0:
                runs[how].append(time.perf_counter() - start)
            norms[how] = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    return {"runs": runs, "norms": norms, "parameters": sum(p.numel() for p in parameters)}


def main() -> None:
    """Measure in this process, which is one of several."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("pairs", type=int)
    parser.add_argument("rounds", type=int)
    a = parser.parse_args()
    print(json.dumps(measured(a.name, a.pairs, a.rounds)))


if __name__ == "__main__":
    main()
