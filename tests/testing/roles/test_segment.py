from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.methods.segment.maskclip import MaskCLIP
from diptych.testing import ContractBroken
from diptych.testing.roles.segment import SegmenterExam
from tests.support.answers import answered


def test_regions_that_are_none_are_refused() -> None:
    exam = SegmenterExam(MaskCLIP)
    (first, *others), fitted = exam.first.answer, exam.first.fitted
    exam.answers_as_its_role_says()
    for wrong, message in (
        (others, "3 photos get 2 answers"),
        ([replace(first, size=(1, 1)), *others], r"gets regions of a photo of \(1, 1\)"),
        ([replace(first, scores=replace(first.scores, values=first.scores.values / 0)), *others], "not finite"),
    ):
        with pytest.raises(ContractBroken, match=message):
            answered(SegmenterExam(MaskCLIP), wrong, fitted).answers_as_its_role_says()
    with pytest.raises(ContractBroken, match="place of a class in the list"):
        answered(exam, [first, *others[::-1]], fitted).permuting_names_permutes_maps()  # type: ignore[attr-defined]
