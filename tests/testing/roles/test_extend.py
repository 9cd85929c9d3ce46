from __future__ import annotations

import pytest
import torch

from diptych.methods.extend.frame_mean import FrameMean
from diptych.testing import ContractBroken
from diptych.testing.roles.extend import ExtenderExam
from tests.support.answers import answered


def test_vectors_that_are_none_are_refused() -> None:
    exam = ExtenderExam(FrameMean)
    exam.answers_as_its_role_says()
    with pytest.raises(ContractBroken, match=r"vectors of image are \(1, 2\)"):
        answered(exam, {"image": torch.zeros(1, 2)}, exam.first.fitted).answers_as_its_role_says()
