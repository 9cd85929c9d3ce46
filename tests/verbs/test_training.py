"""The system of a training: by its slug, or itself."""

from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.verbs.training import READS, system_of


def test_a_slug_and_a_system_are_one() -> None:
    assert system_of("pretrain", "clip-loss", "", {}) == system_of("pretrain", CLIPLoss(), "", {})


def test_a_system_of_another_verb_is_refused() -> None:
    with pytest.raises(UsageError, match="clip-loss is a system of pretrain, not of finetune"):
        system_of("finetune", CLIPLoss(), "", {})
    with pytest.raises(UsageError, match="clip-loss is no system of finetune"):
        system_of("finetune", "clip-loss", "", {})


def test_parts_are_read_by_systems_that_need_them() -> None:
    assert not READS["teacher"](CLIPLoss())
    assert READS["rewrites"](system_of("pretrain", "laclip", "", {}))
