from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from diptych.core import UsageError
from diptych.metrics.reliance import best_decisions, reliance
from proofs.benches.audits.latents import Latents


def test_each_latent_alone_is_as_right_as_its_predictivity_says() -> None:
    law = Latents(shortcut=0.7, core=0.95, covariance=-0.4)
    z, y = law.draw(60_000, np.random.default_rng(0))
    assert (np.sign(z) == y[:, None]).mean(0) == pytest.approx([0.7, 0.95], abs=0.006)
    own = (z - y[:, None] * law.means).T
    assert np.cov(own) == pytest.approx(law.scatter, abs=0.02)
    assert law.means == pytest.approx(norm.ppf([0.7, 0.95]))


def test_the_ratio_scales_the_two_directions_and_their_product_is_kept() -> None:
    shortcut, core = np.eye(2)
    for ratio in (1 / 9, 1.0, 4.0):
        embed = Latents(ratio=ratio).embedding(np.random.default_rng(3))
        s, c = (np.linalg.norm(embed(z[None])) for z in (shortcut, core))
        assert (s / c, s * c) == (pytest.approx(ratio), pytest.approx(1.0))
    one, two = (Latents(ratio=r).embedding(np.random.default_rng(3))(shortcut[None])[0] for r in (1.0, 16.0))
    assert two == pytest.approx(4 * one)


def test_nesting_bends_one_feature_and_leaves_the_other() -> None:
    z = np.array([[0.5, 0.0], [1.0, 0.0], [0.0, 0.5], [0.0, 1.0]])
    x = Latents(nesting=(2, 0)).embedding(np.random.default_rng(0))(z)
    assert x[3] == pytest.approx(2 * x[2])
    assert np.abs(x[1] - 2 * x[0]).max() > 0.01
    assert np.abs(x).max() < 1


def test_the_grid_is_even_symmetric_and_without_zeros() -> None:
    law = Latents(shortcut=0.3)
    grid = law.grid(6)
    assert grid.shape == (48, 2)
    assert np.abs(grid).min() > 0
    assert grid.mean(0) == pytest.approx([0, 0], abs=1e-12)
    assert grid.max(0) == pytest.approx(3 * np.abs(law.means))


@pytest.mark.parametrize("covariance", [0.0, 0.3, 0.6, -0.3])
@pytest.mark.parametrize("shortcut", [0.6, 0.85, 0.9])
def test_the_grid_gives_the_reliance_of_the_best_decisions_in_closed_form(shortcut: float, covariance: float) -> None:
    """A line w z = 0 cuts a wedge of a share u / 2v from each quadrant, with u < v of |w_i mu_i|."""
    law = Latents(shortcut, covariance=covariance)
    u, v = np.abs(np.linalg.solve(law.scatter, law.means)) * np.abs(law.means)
    probes = law.grid()
    found = reliance(best_decisions(probes, law.means, law.scatter), probes)
    assert found == pytest.approx(1 - v / u if u >= v else u / v - 1, abs=0.007)


def test_ranges_are_checked() -> None:
    for wrong in ({"shortcut": 1.0}, {"core": 0.0}, {"covariance": 1.0}, {"ratio": 0.0}, {"dimensions": 1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Latents(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"got \(0, -1\)"):
        Latents(nesting=(0, -1))
    with pytest.raises(UsageError, match="even number, at least 2, got 5"):
        Latents().grid(5)
    with pytest.raises(UsageError, match="without width"):
        Latents(shortcut=0.5).grid()
