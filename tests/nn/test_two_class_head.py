from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.optimize import minimize

from diptych.core import UsageError
from diptych.nn.two_class_head import Cued, Head, random_state_kept


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


def known(shortcut: float, core: float) -> Cued:
    """Features that are the class and the square, each times a number, and some noise."""
    sides = np.repeat([-1, 1], 40)
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 80, 2))
    features = np.stack([np.stack([core * sides, np.full(80, shortcut * s)], 1) for s in (-1.0, 1.0)]) + noise
    return Cued(features, sides, np.tile(np.arange(40) < 20, 2))


def test_decisions_follow_the_only_feature_there_is() -> None:
    for shortcut, core, value, followed in ((1.0, 0.0, 1.0, 1.0), (0.0, 1.0, -1.0, 0.0)):
        cued = known(shortcut, core)
        decisions = cued.decisions(Head(c=10.0), 0.95, 0.95, 3)
        assert decisions.shape == (2, 40)
        assert cued.reliance(decisions).mean() == pytest.approx(value, abs=0.05)
        assert cued.followed(decisions) == pytest.approx(followed, abs=0.05)


def test_reliance_is_that_of_a_loop() -> None:
    cued, rng = known(1.0, 1.0), np.random.default_rng(1)
    d = rng.choice([-1, 1], (2, 40))
    core = cued.core[~cued.train]
    loop = [np.mean([d[m, i] * (-1, 1)[m] - d[m, i] * core[i] for m in (0, 1)]) for i in range(40)]
    assert cued.reliance(d) == pytest.approx(loop)
    conflict = [(d[m, i] == (-1, 1)[m]) for m in (0, 1) for i in range(40) if core[i] != (-1, 1)[m]]
    assert cued.followed(d) == pytest.approx(np.mean(conflict))
