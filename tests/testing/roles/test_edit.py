from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diptych.methods.edit.deltaedit import DeltaEdit
from diptych.testing import ContractBroken
from diptych.testing.roles.edit import EditorExam
from tests.support.answers import answered
from tests.support.contract import short


def test_pictures_that_are_none_are_refused() -> None:
    exam = EditorExam(DeltaEdit, settings=short("deltaedit"))
    edited, fitted = exam.first.answer, exam.first.fitted
    for wrong, message in (
        (replace(edited, after=edited.after * 3), r"leave \[0, 1\]"),
        (replace(edited, after=edited.after[:2]), "get 2 results"),
        (replace(edited, change=torch.zeros(3, 1)), "the change of styles is not"),
    ):
        with pytest.raises(ContractBroken, match=message):
            answered(EditorExam(DeltaEdit), wrong, fitted).answers_as_its_role_says()
