from __future__ import annotations

from typing import Any

import pytest
import torch

from diptych.core import ClassNames, FittedClassifier, Run, Samples, Scores
from diptych.features.classes_in_order import InOrder, differences, order_of


class Always(FittedClassifier):
    classes = ClassNames(("cat", "dog", "eel"))

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        candidates = torch.tensor([[True, False, True]])
        return Scores(torch.tensor([[0.0, 1.0, 2.0]]), "logit", candidates, torch.tensor([0.5]))


def test_scores_and_candidates_change_places() -> None:
    fitted = InOrder(Always(), (2, 0, 1), ClassNames(("eel", "cat", "dog")))
    scores = fitted.scores([], Run())  # type: ignore[arg-type]
    assert scores.values.tolist() == [[2.0, 0.0, 1.0]]
    assert scores.candidates is not None
    assert scores.candidates.tolist() == [[True, True, False]]
    assert scores.sharpness is not None
    assert scores.sharpness.tolist() == [0.5]


@pytest.mark.parametrize(
    ("fitted", "wanted", "order"),
    [
        (["a", "b"], ["b", "a"], (1, 0)),
        (["sea_horse"], ["sea horse"], (0,)),
        (["a", "b"], ["a"], None),
        (["a", "b"], ["a", "c"], None),
        (["sea_horse", "sea horse"], ["sea horse", "sea_horse"], (0, 1)),
        (["sea_horse", "sea horse", "a"], ["a", "sea horse", "sea_horse"], None),
    ],
)
def test_order(fitted: list[str], wanted: list[str], order: tuple[int, ...] | None) -> None:
    assert order_of(fitted, wanted) == order


def test_differences() -> None:
    assert (
        differences(["a", "b", "c", "d"], ["e"]) == "it lacks e and it has a, b, c and 1 more, which the data have not"
    )
    assert differences(["a"], ["a", "b"]) == "it lacks b"
    assert differences(["x_y", "x y"], ["x y", "x_y"]) == "several of its names are one when they are tidied"
