from __future__ import annotations

import torch

from diptych.core import Condition, Site, TextDiffusion


def test_conditions_count_texts_and_sites_are_keys() -> None:
    assert len(Condition(torch.zeros(3, 2, 4))) == 3
    assert {Site("self", "mid", 0): 1}[Site("self", "mid", 0)] == 1
    assert not isinstance(object(), TextDiffusion)
