from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from diptych.core import DataError
from diptych.metrics.reliance import agreements, best_decisions, decided, reliance

MEANS, SCATTER = np.array([1.04, 1.28]), np.array([[1.0, 0.6], [0.6, 1.0]])


def reliance_of_line(shortcut: float, core: float) -> float:
    """R of sign(w_s z_s + w_c z_c) over a rectangle round 0 with half-sides r_s and r_c; u = |w_s| r_s, v = |w_c| r_c.

    The smaller side decides against the larger on a wedge of area u / 2v of each quadrant.
    """
    return 1 - core / shortcut if shortcut >= core else shortcut / core - 1


def grid(side: int = 200) -> np.ndarray:
    s, c = (np.linspace(-3 * m, 3 * m, side) for m in MEANS)
    return np.stack(np.meshgrid(s, c), -1).reshape(-1, 2)


def test_reliance_counts_agreements_as_a_loop_does() -> None:
    rng = np.random.default_rng(0)
    z, d = rng.standard_normal((57, 2)), rng.choice([-1, 1], 57)
    one = two = 0
    for (s, c), y in zip(z, d, strict=True):
        one += y if s > 0 else -y
        two += y if c > 0 else -y
    assert reliance(d, z) == pytest.approx((abs(one) - abs(two)) / 57)
    assert reliance(-d, z) == pytest.approx(reliance(d, z))
    assert agreements(d, z).sum(0).tolist() == [one, two]


@pytest.mark.parametrize("w", [(1.0, 1.0), (0.2, 1.0), (-0.7, 1.0), (1.0, 0.0), (0.0, -2.0), (5.0, 1.0)])
def test_a_line_has_the_reliance_of_its_closed_form(w: tuple[float, float]) -> None:
    z = grid()
    u, v = np.abs(w) * 3 * MEANS
    assert reliance(decided(z @ np.array(w)), z) == pytest.approx(reliance_of_line(u, v), abs=0.02)


def test_the_best_decisions_are_those_of_discriminant_analysis() -> None:
    rng = np.random.default_rng(1)
    y = rng.choice([-1, 1], 40_000)
    z = y[:, None] * MEANS + rng.multivariate_normal([0, 0], SCATTER, len(y))
    fitted = LinearDiscriminantAnalysis().fit(z, y)
    probes = grid(40)
    assert (fitted.predict(probes) == best_decisions(probes, MEANS, SCATTER)).mean() > 0.98
    w = np.linalg.inv(SCATTER) @ MEANS
    assert reliance(best_decisions(grid(), MEANS, SCATTER), grid()) == pytest.approx(
        reliance_of_line(*(np.abs(w) * MEANS)), abs=0.02
    )


def test_bad_probes_are_refused() -> None:
    for d, z in (([0], [[1.0, 1.0]]), ([1], [[0.0, 1.0]]), ([1], [[np.nan, 1.0]]), ([], np.zeros((0, 2)))):
        with pytest.raises(DataError, match=r"-1 or \+1"):
            reliance(np.array(d, dtype=np.int64), np.asarray(z))
