from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import Trained
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.testing import ContractBroken
from diptych.testing.roles.training import Squares, TrainingExam, squares
from tests.support.answers import answered


def test_spaces_that_did_not_learn_and_broken_logs_are_noticed() -> None:
    exam = TrainingExam(CLIPLoss)
    trained = exam.first.fitted
    exam.answers_as_its_role_says()
    for wrong, message in (
        (Trained(exam.backbone), "nothing was trained"),
        (replace(trained, log=trained.log[1:]), "the log has the steps"),
        (replace(trained, log=({**trained.log[0], "main/loss": float("nan")}, *trained.log[1:])), "not finite"),
    ):
        with pytest.raises(ContractBroken, match=message):
            answered(TrainingExam(CLIPLoss), "", wrong).answers_as_its_role_says()


def test_squares_are_of_their_colours_and_captions_name_them() -> None:
    table = squares(10, shift=1)
    assert np.asarray(Squares(10)[0]).mean((0, 1)).argmax() == 0
    assert table.columns["captions"].values[0][1] == "red"
    assert table.columns["captions"].values[5][1] == "green"
