from __future__ import annotations

import pytest
import torch

from diptych.core import Condition, UsageError
from diptych.nn.text.refiner import PromptRefiner


def test_the_memory_of_a_prompt_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    refiner = PromptRefiner(tokens=6, vocabulary=9, width=8, layers=1, read=5, limit=4)
    tokens = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    both = refiner.memory(Condition(tokens, mask))
    alone = refiner.memory(Condition(tokens[1:, :2]))
    assert both.shape == (2, 5, 8)
    torch.testing.assert_close(both[1:], alone)
    assert not both[1, 2:].any()
    torch.testing.assert_close(both[0, :4], refiner.adapter(tokens[0]))
    with pytest.raises(UsageError, match="has 6 tokens, and 5 are read"):
        refiner.memory(Condition(torch.zeros(1, 6, 6)))
