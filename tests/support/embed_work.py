"""``embed`` under SIGKILL and beside a twin: ``python embed_work.py MODE FOLDER``. The parent never runs torch, so it
may fork.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core.data import Texts
from diptych.core.run import Run
from diptych.features.embed import embed
from diptych.store.store import Store

TEXTS = Texts(tuple(f"text {i}" for i in range(42)))


class Slow:
    """A text encoder whose vectors depend on the batch, and which takes its time."""

    modality, dim, size, fingerprint = "text", 2, None, "66" * 8

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def inputs(self, items: Any, size: int | None = None) -> Tensor:
        return torch.tensor([[float(len(t)), float(t.split()[1])] for t in items])

    def encode(self, x: Any, /) -> Tensor:
        time.sleep(self._seconds)
        return x + x.sum(dim=0) * torch.arange(1, len(x) + 1)[:, None]


def child(work: Callable[[], object]) -> int:
    number = os.fork()
    if number == 0:
        torch.set_num_threads(1)
        work()
        os._exit(0)
    return number


def once(folder: Path, name: str, seconds: float = 0.0, batch: int = 5, texts: Texts = TEXTS) -> Callable[[], object]:
    return lambda: np.save(folder / name, embed(Slow(seconds), texts, Run(cache=folder / "cache", batch=batch)).numpy())


def kill(folder: Path) -> None:
    """Kill at random moments until the job is done; nine batches of 10 ms, so most kills fall into a batch."""
    whole = folder / "whole"
    whole.mkdir()
    assert os.waitpid(child(once(whole, "values.npy")), 0)[1] == 0
    expected = np.load(whole / "values.npy")
    draw = random.Random(1)
    kills = 0
    for case in range(3):
        target = folder / str(case)
        target.mkdir()
        while True:
            number = child(once(target, "values.npy", 0.01))
            time.sleep(draw.uniform(0.0, 0.12))
            os.kill(number, signal.SIGKILL)
            if os.waitpid(number, 0)[1] == 0:
                break
            kills += 1
            if kills % 9 == 8:  # let one through now and then
                os.waitpid(child(once(target, "values.npy")), 0)
                break
        assert np.load(target / "values.npy").tobytes() == expected.tobytes(), "other bits after kills"
        assert Store(target / "cache").verify() == []
    assert kills > 5


def writers(folder: Path) -> None:
    """Two at the same work share it and agree with one alone; a third with other texts and batches agrees with what
    stays on disk.
    """
    other = Texts((*TEXTS.values[20:], "own 1"))
    asks = [("a.npy", 5, TEXTS), ("b.npy", 5, TEXTS), ("c.npy", 3, other)]
    children = [child(once(folder, name, 0.01, batch, texts)) for name, batch, texts in asks]
    assert [os.waitpid(c, 0)[1] for c in children] == [0, 0, 0]
    assert Store(folder / "cache").verify() == []
    a, b, c = (np.load(folder / name) for name, _, _ in asks)
    assert a.tobytes() == b.tobytes()
    assert a[20:].tobytes() == c[:-1].tobytes()


if __name__ == "__main__":
    {"kill": kill, "writers": writers}[sys.argv[1]](Path(sys.argv[2]))
