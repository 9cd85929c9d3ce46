"""Arms and what they reach, on values that are known."""

from __future__ import annotations

import numpy as np

from diptych.core import Run
from diptych.evaluation.arms import Arm, over_seeds


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


def test_values_of_parts_are_stacked_by_seed() -> None:
    def once(run: Run) -> tuple[np.ndarray, dict[str, float], dict[str, np.ndarray]]:
        return np.array([run.seed]), {"seed": float(run.seed)}, {"half": np.array([run.seed / 2, 1.0])}

    drawn = over_seeds(once, Run(), (3, 5), draws=True)
    assert list(drawn.parts) == ["half"]
    assert drawn.parts["half"].values.tolist() == [[1.5, 1.0], [2.5, 1.0]]
    assert (drawn.parts["half"].seeds, drawn.parts["half"].others) == ((3, 5), {})
