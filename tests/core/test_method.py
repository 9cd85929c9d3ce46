from __future__ import annotations

from typing import Any

import pytest
import torch

from diptych.core import ClassNames, DataError, FittedClassifier, Run, Samples, Scores
from diptych.data.memory import InMemory


def test_candidates_rank_first_and_no_items_have_no_ranks() -> None:
    values = torch.tensor([[0.1, 0.9, 0.5]])
    scores = Scores(values, "cosine", torch.tensor([[True, False, True]]))
    assert scores.ranked().argsort(dim=1, descending=True).tolist() == [[2, 0, 1]]
    empty = Scores(values[:0], "cosine", torch.zeros(0, 3, dtype=torch.bool))
    assert empty.ranked().shape == (0, 3)
    assert empty.predicted().shape == (0,)


class Answers(FittedClassifier):
    """Gives what it was made with."""

    classes = ClassNames(("cat", "dog"))

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def scores(self, items: Samples[Any], run: Run) -> Any:
        """Return the answer."""
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Scores(torch.zeros(3, 3), "logit"), r"must return Scores of size \(3, 2\), got \(3, 3\)"),
        (Scores(torch.zeros(2, 2), "logit"), r"of size \(3, 2\), got \(2, 2\)"),
        (Scores(torch.zeros(2), "logit"), r"of size \(3, 2\), got \(2,\)"),
        (Scores(torch.full((3, 2), torch.nan), "logit"), "returned 6 NaN"),
        (Scores(torch.zeros(3, 2).numpy(), "logit"), r"tensor \(3, 2\), got numpy.ndarray"),  # type: ignore[arg-type]
        (torch.zeros(3, 2), r"Scores of a tensor \(3, 2\), got torch.Tensor"),
        (None, "got builtins.NoneType"),
    ],
)
def test_scores_of_another_form_are_refused_where_they_are_read(answer: Any, message: str) -> None:
    """A column too many had a first place too: a board recommended such a system."""
    with pytest.raises(DataError, match=f"^Answers.scores, of 3 items for 2 classes, .*{message}"):
        Answers(answer).checked_scores(InMemory((1, 2, 3)), Run())


def test_whole_scores_are_given_and_a_kind_is_one_of_three() -> None:
    whole = Scores(torch.tensor([[0.0, -torch.inf]]), "log_prob")
    assert Answers(whole).checked_scores(InMemory((1,)), Run()) is whole
    with pytest.raises(ValueError, match="kind must be one of cosine, logit, log_prob, got 'prob'"):
        Scores(torch.zeros(1, 2), "prob")  # type: ignore[arg-type]
