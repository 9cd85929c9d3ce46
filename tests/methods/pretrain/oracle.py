"""The same tensors for our objective and for open_clip's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diptych.core import Clock, Embedded, State

CLOCK = Clock(0, 10, 0, torch.Generator())
WORDS = torch.tensor([[3, 1, 0, 0], [2, 2, 1, 4], [1, 0, 0, 0], [5, 5, 2, 1], [6, 1, 2, 0]])


def leaves() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(4)
    sizes = {"image": (5, 6), "text": (5, 6), "states": (5, 4, 7)}
    named = {n: torch.randn(s, generator=g, dtype=torch.float64) for n, s in sizes.items()}
    named |= {"log_scale": torch.tensor(2.0).double(), "bias": torch.tensor(-3.0).double()}
    return {n: t.requires_grad_() for n, t in named.items()}


def embedded(t: dict[str, Tensor]) -> Embedded:
    return Embedded(
        {"image": t["image"], "text": t["text"]},
        lambda a, b: (t["log_scale"].exp(), t["bias"]),
        lambda x: x,
        tokens={"caption": State(t["states"])},
        targets={"caption": WORDS},
    )


def assert_same(ours: Callable[[dict[str, Tensor]], Tensor], theirs: Callable[[dict[str, Tensor]], Tensor]) -> None:
    a, b = leaves(), leaves()
    la, lb = ours(a), theirs(b)
    torch.testing.assert_close(la, lb, rtol=1e-12, atol=0)
    la.backward()
    lb.backward()
    for name in a:
        ga, gb = (torch.zeros_like(t[name]) if t[name].grad is None else t[name].grad for t in (a, b))
        torch.testing.assert_close(ga, gb, rtol=1e-10, atol=1e-13, msg=name)
