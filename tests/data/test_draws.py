from __future__ import annotations

import numpy as np

from diptych.data.draws import uniform


def test_draws_are_uniform_and_depend_on_seed_and_place_alone() -> None:
    draws = np.array([uniform(0, i) for i in range(4000)])
    assert np.histogram(draws, 10, (0, 1))[0].min() > 330
    assert abs(np.corrcoef(draws, [uniform(1, i) for i in range(4000)])[0, 1]) < 0.05
    assert uniform(3, "a.jpg") == uniform(3, "a.jpg") != uniform(3, "b.jpg")
