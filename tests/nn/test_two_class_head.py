from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.optimize import minimize

from diptych.core.errors import UsageError
from diptych.nn.two_class_head import Head, random_state_kept


def blobs(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.choice([-1, 1], n)
    return rng.standard_normal((n, 3)) + y[:, None] * [0.8, 0.3, 0.0], y


@pytest.mark.parametrize("c", [0.05, float("inf")])
def test_a_linear_head_is_the_minimum_of_the_logistic_loss(c: float) -> None:
    x, y = blobs()

    def loss(w: np.ndarray) -> float:
        return float(np.logaddexp(0, -y * (x @ w[:3] + w[3])).sum() + (w[:3] @ w[:3]) / (2 * c))

    w = minimize(loss, np.zeros(4), method="BFGS").x
    probes = np.random.default_rng(1).standard_normal((500, 3)) * 3
    assert (Head(c=c).fit(x, y, 0)(probes) == np.sign(probes @ w[:3] + w[3])).mean() > 0.995


def test_a_network_learns_what_no_line_can_and_repeats_by_seed() -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (400, 2))
    y = np.where(x[:, 0] * x[:, 1] > 0, 1, -1)
    head = Head(depth=1, width=32, epochs=120)
    one, again, other = (head.fit(x, y, seed)(x) for seed in (0, 0, 1))
    assert (one == y).mean() > 0.85
    assert (Head().fit(x, y, 0)(x) == y).mean() < 0.65
    assert (one == again).all()
    assert (one != other).any()


def test_ranges_are_checked() -> None:
    for wrong in ({"depth": -1}, {"width": 0}, {"epochs": 0}, {"c": 0.0}, {"activation": "sine"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Head(**wrong)  # type: ignore[arg-type]


def test_the_random_state_is_restored_after_errors_too() -> None:
    def draw() -> None:
        with random_state_kept():
            random.random()
            raise ValueError("stop")

    state = random.getstate()
    with pytest.raises(ValueError, match="stop"):
        draw()
    assert random.getstate() == state
