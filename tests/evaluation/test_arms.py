"""Arms and what they reach, on values that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import Run
from diptych.evaluation.arms import CHANCE, Arm, Measured, default_variant, minus, over_seeds, two_sided
from diptych.metrics.interval import Interval


def test_a_label_is_what_methods_takes() -> None:
    assert [Arm("gda").label, Arm("zero-shot", "ensemble").label] == ["gda", "zero-shot:ensemble"]


def test_what_draws_nothing_is_measured_once_and_stands_for_all_seeds() -> None:
    asked: list[int] = []

    def once(run: Run) -> tuple[np.ndarray, dict[str, float]]:
        asked.append(run.seed)
        return np.array([run.seed, 0.0]), {"seed": float(run.seed)}

    drawn = over_seeds(once, Run(), (3, 5), draws=True)
    assert (asked, drawn.seeds, drawn.others) == ([3, 5], (3, 5), {"seed": 4.0})
    assert drawn.values.tolist() == [[3, 0], [5, 0]]
    still = over_seeds(once, Run(), (3, 5), draws=False)
    assert (asked[2:], still.seeds, still.others) == ([3], (3,), {"seed": 3.0})
    assert still.values.tolist() == [[3, 0], [3, 0]]


def test_a_gain_is_taken_part_by_part() -> None:
    one, two = (
        Measured(
            np.full((2, 3), whole), {"part": part, "only": whole}, (1, 2), {"part": Measured(np.full((2, 3), part))}
        )
        for whole, part in ((1.0, 0.75), (0.5, 0.25))
    )
    gap = minus(one, replace(two, others={"part": 0.25}))
    assert (gap.values == 0.5).all()
    assert (gap.part("").values == 0.5).all()
    assert (gap.part("part").values == 0.5).all()
    assert gap.others == {"part": 0.5}
    with pytest.raises(KeyError):
        gap.part("another")


def test_both_ends_come_from_two_lower_bounds() -> None:
    def bound(first: float, second: float, spread: float, *, level: float) -> Interval:
        return Interval(first - second, first - second - spread * level, np.inf)

    assert two_sided(bound, 3.0, 1.0, 2.0) == Interval(2.0, 2.0 - 1.95, 2.0 + 1.95)


def test_the_row_of_a_baseline_is_its_default_or_its_ensemble() -> None:
    assert default_variant("zero-shot") == "ensemble"
    assert default_variant("gda") == ""
    assert default_variant(CHANCE) == ""
