"""A small trainee with everything that makes resuming hard, and a program that trains it and waits to be killed at a
step: python -m tests.train.toy OUT HOLD DTYPE [WORKERS SECONDS_A_BATCH].
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from diptych.core import Clock, Column, Embedded, ParamGroup, Row, Run, Table, Texts, Trainee
from diptych.nn.contrastive import contrastive
from diptych.train.distributed import gather, join
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule

FIT = Fit(lr=0.02, batch=8, steps=40, schedule=Schedule(warmup=5), ema=0.9, clip=1.0, save_every=3, accumulate=2)


def table(rows: int = 52) -> Table[str]:
    vectors = np.random.default_rng(0).normal(size=(rows, 6)).astype(np.float64)
    return Table(Texts(tuple(f"item {i}" for i in range(rows))), {"x": Column("vector", vectors)})


@dataclass(frozen=True)
class Lines:
    """A stream whose positions are offsets, not counts."""

    rows: int
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((7 * i, i) for i in range(self.start, self.rows))

    def seek(self, position: int) -> Lines:
        return Lines(self.rows, position // 7)


class Toy(Trainee):
    """Two noisy views of a vector, two small towers, CLIP's loss; dropout, buffers and a running count besides."""

    def __init__(
        self,
        run: Run,
        *,
        dtype: torch.dtype = torch.float32,
        dropout: float = 0.2,
        hold: int | None = None,
        pace: float = 0.0,
    ) -> None:
        self.run, self.hold, self.dtype, self.pace = run, hold, dtype, pace
        with run.seeded("toy"):
            towers = [
                nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 4)) for _ in range(2)
            ]
        self.net = nn.ModuleDict({"a": towers[0], "b": towers[1]}).to(dtype)
        self.net.register_parameter("log_scale", nn.Parameter(torch.tensor(1.0, dtype=dtype)))
        self.net.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.seen: list[tuple[int, float]] = []

    def module(self) -> nn.Module:
        return self.net

    def groups(self) -> list[ParamGroup]:
        names = [n for n, _ in self.net.named_parameters()]
        return [
            ParamGroup(tuple(n for n in names if "weight" in n)),
            ParamGroup(tuple(n for n in names if "weight" not in n), decay=0.0),
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        x = torch.as_tensor(row.columns["x"]) if row.columns else torch.full((6,), float(row.item)).sin()
        return {v: (x + 0.3 * torch.randn(6, generator=g, dtype=torch.float64)).to(self.dtype) for v in ("a", "b")} | {
            "index": row.index
        }

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        if clock.step == self.hold:
            time.sleep(600)
        time.sleep(self.pace)
        noise = torch.rand((), generator=clock.generator)
        self.seen.append((clock.step, float(noise)))
        vectors = {v: self.net[v](batch[v]) for v in ("a", "b")}  # type: ignore[index]
        scale = self.net.log_scale.exp() * (1 + 0.01 * noise)  # type: ignore[operator]
        e = Embedded(vectors, lambda a, b: (scale, torch.zeros(())), gather(self.run.world), self.run.world.rank)
        return {"pair": contrastive(e, ("a", "b"))}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        if what == "epoch":
            self.net.epochs.add_(1)  # type: ignore[operator]


def fit_here(out: Path, dtype: str, hold: int | None = None, workers: int = 0, pace: float = 0.0) -> None:
    """Train, or go on training, with everything that is written in ``out``; leave the weights in final.pt."""
    out.mkdir(parents=True, exist_ok=True)
    run = join(Run(seed=3, out=out, workers=workers))
    toy = Toy(run, dtype=getattr(torch, dtype), dropout=0.2 if dtype == "float32" else 0.0, hold=hold, pace=pace)
    train(toy, table(), FIT, run, resume=True)
    if run.world.rank == 0:
        torch.save(toy.net.state_dict(), out / "final.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    more = (int(sys.argv[4]), float(sys.argv[5])) if len(sys.argv) > 4 else ()
    fit_here(Path(sys.argv[1]), sys.argv[3], int(sys.argv[2]), *more)
