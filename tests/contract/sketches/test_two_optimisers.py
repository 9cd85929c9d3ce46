"""GALIP: a discriminator and a generator take turns in every step; the penalty on gradients needs their gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core.data import Column, Table, Texts
from diptych.core.run import Run
from diptych.core.train import Clock, ParamGroup, Row, Trainee
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule

RUN = Run(workers=0)
FIT = Fit(
    lr=1e-3, batch=16, epochs=40, optimizer="adam", betas=(0.0, 0.9), eps=1e-8, decay=0.0, schedule=Schedule("constant")
)


def discriminator_loss(real: Tensor, fake: Tensor, mismatched: Tensor) -> Tensor:
    """Hinge: E (1 - D(x,t))+ + E (1 + D(G,t))+ / 2 + E (1 + D(x,t'))+ / 2."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean() / 2 + F.relu(1 + mismatched).mean() / 2


class Gan(Trainee):
    phases = ("d", "g")

    def __init__(self) -> None:
        with RUN.seeded("gan"):
            g = nn.Sequential(nn.Linear(2 + 3, 32), nn.LeakyReLU(0.2), nn.Linear(32, 4))
            d = nn.Sequential(nn.Linear(4 + 2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        self.net = nn.ModuleDict({"g": g, "d": d})
        self.changed: list[set[str]] = []

    def module(self) -> nn.Module:
        return self.net

    def groups(self) -> list[ParamGroup]:
        names = {k: tuple(n for n, _ in self.net.named_parameters() if n.startswith(k)) for k in ("d", "g")}
        return [ParamGroup(names["d"], lr=4.0, phases=("d",)), ParamGroup(names["g"], phases=("g",))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        x, t = (torch.as_tensor(row.columns[c]) for c in ("x", "t"))
        return {"x": x, "t": t, "noise": torch.randn(3, generator=g)}

    def fake(self, batch: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.net["g"](torch.cat([batch["t"], batch["noise"]], 1))
        return out

    def judge(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.net["d"](torch.cat([x, t], 1))
        return out

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        if phase == "g":
            return {"adversarial": -self.judge(self.fake(batch), batch["t"]).mean()}
        x, t = batch["x"].requires_grad_(), batch["t"].requires_grad_()
        real = self.judge(x, t)
        loss = discriminator_loss(real, self.judge(self.fake(batch), t), self.judge(x, t.roll(1, 0)))
        slopes = torch.autograd.grad(real.sum(), (x, t), create_graph=True)
        penalty = 2 * torch.cat(slopes, 1).norm(dim=1).pow(6).mean()
        return {"hinge": loss, "penalty": penalty}


def table() -> Table[str]:
    rng = np.random.default_rng(0)
    t = rng.normal(size=(64, 2)).astype(np.float32)
    x = (t @ np.array([[1, -1, 0, 2], [0, 1, 1, -1]], dtype=np.float32)) + 0.05 * rng.normal(size=(64, 4)).astype(
        np.float32
    )
    return Table(Texts(tuple(map(str, range(64)))), {"x": Column("vector", x), "t": Column("vector", t)})


def test_equals_two_optimisers_by_hand() -> None:
    gan, hand = Gan(), Gan()
    batches: list[Mapping[str, Any]] = []
    losses = gan.losses
    gan.losses = lambda b, p, c: (batches.append(b) if p == "d" else None, losses(b, p, c))[1]  # type: ignore[method-assign, func-returns-value]
    train(gan, table(), FIT, RUN)
    adams = {
        k: torch.optim.Adam(hand.net[k].parameters(), lr=lr, betas=(0.0, 0.9)) for k, lr in (("d", 4e-3), ("g", 1e-3))
    }
    clock = Clock(0, 1, 0, torch.Generator())
    for batch in batches:
        fresh = {k: v.detach().clone() for k, v in batch.items()}
        for phase in ("d", "g"):
            hand.net.zero_grad()
            sum(hand.losses(fresh, phase, clock).values()).backward()  # type: ignore[union-attr]
            adams[phase].step()
    for name, p in gan.net.named_parameters():
        assert torch.equal(p, hand.net.get_parameter(name)), name


def test_each_phase_moves_its_own_network_only() -> None:
    gan = Gan()
    gan.groups = lambda: [g for g in Gan.groups(gan) if g.phases == ("g",)]  # type: ignore[method-assign]
    start = Gan().net.state_dict()
    train(gan, table(), FIT, RUN)
    moved = {n[0] for n, t in gan.net.state_dict().items() if not torch.equal(t, start[n])}
    assert moved == {"g"}


def test_the_generator_learns_what_the_text_asks_for() -> None:
    def error(gan: Gan) -> float:
        t = torch.as_tensor(table().columns["t"].values)
        noise = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return float(
                (gan.fake({"t": t, "noise": noise}) - torch.as_tensor(table().columns["x"].values)).pow(2).mean()
            )

    gan = Gan()
    before = error(gan)
    train(gan, table(), FIT, RUN)
    assert error(gan) < 0.7 * before
