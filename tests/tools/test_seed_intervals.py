from __future__ import annotations

import numpy as np
import pytest

from diptych.metrics.closed_intervals import t_mean
from tools.seed_intervals import two_way_t


def test_where_only_items_or_only_seeds_differ_it_is_students_interval() -> None:
    values = np.random.default_rng(0).normal(size=6)
    for table in (np.tile(values, (4, 1)), np.tile(values[:, None], (1, 4))):
        ours, student = two_way_t(table), t_mean(values)
        assert (ours.value, ours.low, ours.high) == pytest.approx((student.value, student.low, student.high))


def test_values_that_are_all_alike_have_no_width() -> None:
    ours = two_way_t(np.ones((3, 5)))
    assert (ours.value, ours.low, ours.high) == (1, 1, 1)
