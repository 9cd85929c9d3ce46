from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diptych.core import Finding, PairScores, Part
from diptych.methods.audit.clip4dm import CLIP4DM
from diptych.methods.audit.counteranimal import CounterAnimal
from diptych.testing import ContractBroken
from diptych.testing.roles.audit import AuditorExam, PairScorerExam, audited
from tests.support.answers import answered


@pytest.mark.parametrize(("answer", "message"), [([], "there is no finding"), (["bad"], "no findings")])
def test_findings_that_are_none_are_refused(answer: object, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        answered(AuditorExam(CounterAnimal), answer).answers_as_its_role_says()


def test_findings_about_nobody_and_unnamed_lacks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    exam = AuditorExam(CounterAnimal)
    exam.missing_tables_are_named_before_anything_is_encoded()
    finding = Finding("one", "drop", 0.5, (0.6, 0.7), range=(-1.0, 1.0), count=1)
    monkeypatch.setattr(CounterAnimal, "audit", lambda *given: [finding])
    with pytest.raises(ContractBroken, match="not about the models that were given"):
        exam.findings_are_about_the_models_and_their_items()
    monkeypatch.setattr(CounterAnimal, "audit", lambda *given: [finding, replace(finding, subject="two")])
    with pytest.raises(ContractBroken, match="the value of drop is outside its interval"):
        exam.findings_are_about_the_models_and_their_items()
    with pytest.raises(ContractBroken, match="without tables it must raise DataError"):
        exam.missing_tables_are_named_before_anything_is_encoded()


def test_scores_of_pairs_that_are_none_are_refused() -> None:
    for scores, message in (
        (PairScores(torch.zeros(3)), r"scores are \(3,\)"),
        (PairScores(torch.zeros(24), ((Part("cat", 0, 3, 1.0),),) * 24), "is not what stands at its offsets"),
    ):
        with pytest.raises(ContractBroken, match=message):
            answered(PairScorerExam(CLIP4DM), scores).answers_as_its_role_says()


def test_the_tables_have_every_role() -> None:
    assert {probe.role for probe in audited().probes.values()} == {"id", "shift", "ood", "train", "pairs"}
