from __future__ import annotations

import pytest
import torch

from diptych.core import DataError, Prompts, Proposals, UsageError


def test_a_score_a_mask() -> None:
    with pytest.raises(DataError, match="one score"):
        Proposals(torch.zeros(2, 3, 3), torch.zeros(3), (3, 3))


def test_prompts_are_of_one_number_and_some_kind() -> None:
    assert len(Prompts(boxes=torch.zeros(3, 4))) == 3
    with pytest.raises(UsageError, match="got none"):
        Prompts()
    with pytest.raises(UsageError, match="got none"):
        Prompts(labels=torch.zeros(1, 1))
    with pytest.raises(UsageError, match=r"\[1, 2\]"):
        Prompts(points=torch.zeros(1, 1, 2), boxes=torch.zeros(2, 4))
