"""Low-rank adapters inside a module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.core import MissingHook, Run
from diptych.train.adapters import Adapters, adapter_targets
from tests.train.test_pair import small


def test_whole_attentions_and_other_linear_layers_are_targets() -> None:
    names = adapter_targets(small().module(), lambda n: "visual" in n)
    assert any(n.endswith(".attn") for n in names)
    assert not any("out_proj" in n for n in names)
    assert all("visual" in n for n in names)


def test_adapters_change_nothing_at_first_and_are_merged_under_the_old_names() -> None:
    pytest.importorskip("peft")
    module = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))
    x, before = torch.randn(5, 4), [n for n, _ in module.named_parameters()]
    plain = module(x)
    adapters = Adapters(module, adapter_targets(module), 2, 4.0, Run())
    torch.testing.assert_close(module(x), plain)
    with torch.no_grad():
        for n, p in module.named_parameters():
            if "lora_B" in n:
                p.normal_()
    merged = adapters.merged()
    torch.testing.assert_close(merged(x), module(x))
    assert not torch.allclose(merged(x), plain)
    assert [n for n, _ in merged.named_parameters()] == before
    with pytest.raises(MissingHook, match="this module has no linear layer"):
        Adapters(nn.GELU(), [], 2, 4.0, Run())
