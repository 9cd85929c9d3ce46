from __future__ import annotations

import pytest
import torch

from diptych.methods.retrieve.string_matching import StringMatching
from diptych.testing import ContractBroken
from diptych.testing.roles.retrieve import RetrieverExam
from tests.support.answers import answered


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((torch.zeros(12, 3), 0.5), r"the shape \(12, 3\), not \(12, 12\)"),
        ((torch.zeros(12, 12), None), "no threshold"),
        ((torch.zeros(12, 12, dtype=torch.float64), 0.5), "are torch.float64"),
    ],
)
def test_scores_that_are_none_are_refused(answer: object, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        answered(RetrieverExam(StringMatching), answer).answers_as_its_role_says()


def test_scores_that_depend_on_the_place_are_noticed() -> None:
    pytest.importorskip("rapidfuzz")
    exam = RetrieverExam(StringMatching)
    fitted, (scores, threshold) = exam.first.fitted, exam.first.answer
    exam.order_does_not_matter()
    with pytest.raises(ContractBroken, match="records in another order"):
        answered(exam, (scores + torch.arange(12.0), threshold), fitted).order_does_not_matter()  # type: ignore[attr-defined]
