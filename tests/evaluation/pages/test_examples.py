"""The photos that stand under right and wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from diptych.evaluation.pages.examples import _one_a_class, _shown, examples


def test_every_class_comes_once_before_any_comes_twice() -> None:
    labels = np.array([0, 0, 1, 2, 0, 1])
    assert _one_a_class([0, 1, 4, 2, 5, 3], labels) == [0, 2, 3, 1, 5, 4]


def test_the_best_row_at_most_shots_is_shown_and_no_row_gives_no_section() -> None:
    rows: list[Any] = [SimpleNamespace(shots=s, metrics={"acc1": a}) for s, a in ((0, 0.9), (4, 0.5), (4, 0.6))]
    assert _shown(SimpleNamespace(rows=rows)) is rows[2]  # type: ignore[arg-type]
    assert list(examples(SimpleNamespace(rows=()))) == []  # type: ignore[arg-type]
