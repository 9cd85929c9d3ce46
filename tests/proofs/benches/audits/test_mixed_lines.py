"""The closed form of a mixture, beside drawn items."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from diptych.core import UsageError
from proofs.benches.audits.mixed_lines import mixed_slope, slope_of

NORMAL = NormalDist()
A, B, D = (np.array([1.0, 0.2, 0.0]), np.array([0.4, 0.9, 0.0]), np.array([0.3, 1.0, 0.0]))


def test_the_closed_form_is_the_accuracy_of_drawn_items() -> None:
    rng = np.random.default_rng(0)
    w = 0.5 * A + 0.5 * B
    probits = []
    for mean in (A, D):
        y = rng.choice([-1, 1], 200_000)
        x = y[:, None] * mean + rng.normal(size=(len(y), 3))
        probits.append(NORMAL.inv_cdf(float((np.sign(x @ w) == y).mean())))
    assert mixed_slope(A, B, A, D) == pytest.approx(probits[1] / probits[0], abs=0.02)


def test_the_slope_of_a_mixture_lies_between_those_of_its_sources() -> None:
    shares = [mixed_slope(A, B, A, D, s) for s in (1.0, 0.75, 0.5, 0.25, 0.0)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(float(slope_of(A, A, D)))
    assert mixed_slope(A, A, A, D) == pytest.approx(shares[0])
    assert slope_of(np.stack([A, 3 * A]), A, D) == pytest.approx([shares[0]] * 2)
    with pytest.raises(UsageError, match=r"1\.5"):
        mixed_slope(A, B, A, D, 1.5)
