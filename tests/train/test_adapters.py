"""Low-rank adapters inside a module."""

from __future__ import annotations

from typing import Any

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


def test_frozen_weights_of_an_attention_keep_their_bits_over_many_passes() -> None:
    """A training that is resumed starts from the weights of before, so those of one that goes on must be the same."""
    pytest.importorskip("peft")
    attention = nn.MultiheadAttention(8, 2)
    module = nn.ModuleDict({"attn": attention})
    before = [attention.in_proj_weight.detach().clone(), attention.out_proj.weight.detach().clone()]
    adapters = Adapters(module, ["attn"], 2, 16.0, Run())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    x = torch.randn(5, 1, 8)
    for _ in range(20):
        answer = module["attn"](x, x, x)[0]
        answer.sum().backward()
    assert all(p.grad is not None for n, p in module.named_parameters() if "lora_" in n)
    after = dict(module.named_parameters())
    frozen = [p for n, p in after.items() if "lora_" not in n and n.endswith(("in_proj_weight", "layer.weight"))]
    assert [torch.equal(a, b) for a, b in zip(before, frozen, strict=True)] == [True, True]
    merged: Any = adapters.merged().get_submodule("attn")
    torch.testing.assert_close(merged(x, x, x)[0], answer)
