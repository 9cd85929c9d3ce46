from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook
from diptych.methods.finetune.lora import LoRA
from tests.support.tuning_work import SHORT, run, state
from tests.train.test_pair import accuracy, small


def test_lora_changes_weights_by_a_low_rank_and_gives_the_model_back() -> None:
    pytest.importorskip("peft")
    made = run(LoRA(rank=2), fit=SHORT)
    start, end = state(small()), state(made.space)
    assert list(start) == list(end)
    changed = {n for n in start if not torch.equal(start[n], end[n])}
    assert changed
    for n in changed:
        assert torch.linalg.matrix_rank((end[n] - start[n]).double(), rtol=1e-3) <= 2, n
    with pytest.raises(MissingHook, match="no linear layer"):
        run(LoRA(), learns=lambda n: n == "text_projection", fit=SHORT)


def test_lora_learns() -> None:
    pytest.importorskip("peft")
    assert accuracy(run(LoRA()).space) > 0.9
