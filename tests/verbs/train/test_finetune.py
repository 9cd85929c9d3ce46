"""The system of a fine-tuning: by its slug, or itself; and the prompts of its classes."""

from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.methods.finetune.wise_ft import WiSEFT
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.verbs.train.finetune import Finetune
from diptych.verbs.train.pretrain import Pretrain


def test_a_slug_and_a_system_are_one() -> None:
    assert Finetune(data="d", method="wise-ft").system() == Finetune(data="d", method=WiSEFT()).system()
    assert Pretrain(data="d", method="clip-loss").system() == Pretrain(data="d", method=CLIPLoss()).system()


def test_a_system_of_another_verb_is_refused() -> None:
    with pytest.raises(UsageError, match="clip-loss is a system of pretrain, not of finetune"):
        Finetune(data="d", method=CLIPLoss()).system()
    with pytest.raises(UsageError, match="clip-loss is no system of finetune"):
        Finetune(data="d", method="clip-loss").system()


def test_prompts_are_one_by_default_and_those_that_are_given() -> None:
    assert Finetune(data="d").prompts() == ("a photo of a {}.",)
    assert Finetune(data="d", templates=["a {} square"]).prompts() == ("a {} square",)
