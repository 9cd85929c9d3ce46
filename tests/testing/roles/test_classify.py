from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diptych.core import Scores
from diptych.methods.classify.zero_shot import FittedZeroShot, ZeroShot
from diptych.testing import ContractBroken
from diptych.testing.exam import Exam
from diptych.testing.roles.classify import ClassifierExam
from tests.support.answers import answered


def exam() -> Exam:
    return ClassifierExam(ZeroShot)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(9, 4), r"the shape \(9, 4\), not \(9, 3\)"),
        (torch.zeros(9, 3, dtype=torch.float64), "are torch.float64"),
        (torch.zeros(9, 3, requires_grad=True), "take gradients"),
        (torch.full((9, 3), float("nan")), "not finite"),
    ],
)
def test_scores_that_are_none_are_refused(values: torch.Tensor, message: str) -> None:
    fitted = exam().first.fitted
    with pytest.raises(ContractBroken, match=message):
        answered(exam(), Scores(values, "logit"), fitted).answers_as_its_role_says()


def test_scores_that_depend_on_the_batch_or_the_order_of_classes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = FittedZeroShot.scores

    def centred(self: FittedZeroShot, items: object, run: object) -> Scores:
        scores = plain(self, items, run)  # type: ignore[arg-type]
        return replace(scores, values=scores.values - scores.values.mean(dim=0))

    with monkeypatch.context() as patch:
        patch.setattr(FittedZeroShot, "scores", centred)
        with pytest.raises(ContractBroken, match="an item alone gets another answer"):
            exam().an_item_alone_is_answered_as_among_others()

    def first_wins(self: FittedZeroShot, items: object, run: object) -> Scores:
        scores = plain(self, items, run)  # type: ignore[arg-type]
        return replace(scores, values=scores.values + torch.arange(scores.values.shape[1]))

    monkeypatch.setattr(FittedZeroShot, "scores", first_wins)
    with pytest.raises(ContractBroken, match="place of a class in the list"):
        ClassifierExam(ZeroShot).permuting_classes_permutes_columns()
