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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import Run, Texts
from diptych.features.embed import embed
from diptych.store.store import Store

TEXTS = Texts(tuple(f"text {i}" for i in range(42)))


class Slow:
    """A text encoder whose vectors depend on the batch; ``before`` is called at the start of each batch."""

    modality, dim, size, fingerprint = "text", 2, None, "66" * 8

    def __init__(self, before: Callable[[], object]) -> None:
        self._before = before

    def inputs(self, items: Any, size: int | None = None) -> Tensor:
        return torch.tensor([[float(len(t)), float(t.split()[1])] for t in items])

    def encode(self, x: Any, /) -> Tensor:
        self._before()
        return x + x.sum(dim=0) * torch.arange(1, len(x) + 1)[:, None]


def child(work: Callable[[], object]) -> int:
    number = os.fork()
    if number == 0:
        torch.set_num_threads(1)
        work()
        os._exit(0)
    return number


def once(
    folder: Path, name: str, before: Callable[[], object] = lambda: None, batch: int = 5, texts: Texts = TEXTS
) -> Callable[[], object]:
    return lambda: np.save(folder / name, embed(Slow(before), texts, Run(cache=folder / "cache", batch=batch)).numpy())


class Gate:
    """Lets a child begin so many batches and no more, so that where it is killed does not depend on its speed."""

    def __init__(self, batches: int) -> None:
        self._begun, self._leave = os.pipe(), os.pipe()
        os.write(self._leave[1], b"." * batches)

    def enter(self) -> None:
        """Begin a batch, in the child; blocks without leave."""
        os.read(self._leave[0], 1)
        os.write(self._begun[1], b".")

    def wait(self, batches: int) -> None:
        """Return when so many batches have begun or the child has ended, in the parent; for one call."""
        os.close(self._begun[1])
        while batches and os.read(self._begun[0], 1):
            batches -= 1

    def close(self) -> None:
        for end in (self._begun[0], *self._leave):
            os.close(end)


def kill(folder: Path) -> None:
    """Kill in the first to the third of nine batches, somewhere from its encoding to the wait for the next one, until
    the job is done.
    """
    whole = folder / "whole"
    whole.mkdir()
    assert os.waitpid(child(once(whole, "values.npy")), 0)[1] == 0
    expected = np.load(whole / "values.npy")
    draw = random.Random(1)
    for case in range(3):
        target = folder / str(case)
        target.mkdir()
        kills = 0
        while True:
            batches = draw.randint(1, 3)
            gate = Gate(batches)
            number = child(once(target, "values.npy", gate.enter, 4 if kills else 5))  # the first plan stays
            gate.wait(batches)
            time.sleep(draw.uniform(0.0, 0.003))
            os.kill(number, signal.SIGKILL)
            gate.close()
            ended = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
            kills += 1
        assert kills >= 2, "nine batches, at most three a life"
        assert np.load(target / "values.npy").tobytes() == expected.tobytes(), "other bits after kills"
        assert Store(target / "cache").verify() == []


def writers(folder: Path) -> None:
    """Two at the same work share it and agree with one alone; a third with other texts and batches agrees with what
    stays on disk.
    """
    other = Texts((*TEXTS.values[20:], "own 1"))
    asks = [("a.npy", 5, TEXTS), ("b.npy", 5, TEXTS), ("c.npy", 3, other)]
    slow = partial(time.sleep, 0.01)
    children = [child(once(folder, name, slow, batch, texts)) for name, batch, texts in asks]
    assert [os.waitpid(c, 0)[1] for c in children] == [0, 0, 0]
    assert Store(folder / "cache").verify() == []
    a, b, c = (np.load(folder / name) for name, _, _ in asks)
    assert a.tobytes() == b.tobytes()
    assert a[20:].tobytes() == c[:-1].tobytes()


if __name__ == "__main__":
    {"kill": kill, "writers": writers}[sys.argv[1]](Path(sys.argv[2]))
