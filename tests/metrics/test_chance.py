from __future__ import annotations

import math

import pytest

from diptych.core import UsageError
from diptych.metrics.chance import above_chance, at_chance


def test_the_tail_against_a_sum() -> None:
    for hits, items, chance in ((30, 100, 0.25), (33, 100, 0.25), (9, 10, 0.5), (2, 40, 0.1), (0, 5, 0.5)):
        tail = sum(math.comb(items, k) * chance**k * (1 - chance) ** (items - k) for k in range(hits, items + 1))
        assert above_chance(hits, items, chance) == (tail < 0.05)


def test_the_reason_has_both_numbers() -> None:
    assert at_chance(80, 100, 0.25) == ""
    assert at_chance(26, 100, 0.25).startswith("26 of 100 answers are right (26 %), which is not above chance (25 %)")
    assert "0 of 0" in at_chance(0, 0, 0.5)
    with pytest.raises(UsageError, match="got 3 of 2"):
        above_chance(3, 2, 0.5)
