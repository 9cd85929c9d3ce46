from __future__ import annotations

import torch

from diptych.features.reach import reached


def test_reached_names_what_an_output_depends_on_and_leaves_the_flags() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2, bias=False)})
    module["b"].weight.requires_grad_(False)
    x = torch.ones(1, 2)
    with torch.no_grad():
        assert set(reached(module, lambda: module["b"](x))) == {"b.weight"}
        assert set(reached(module, lambda: module["a"](x))) == {"a.weight", "a.bias"}
    assert reached(module, lambda: x) == ()
    assert not module["b"].weight.requires_grad
    assert module["a"].weight.requires_grad


def test_several_outputs_give_all_names_in_the_modules_order_and_among_names_what_is_asked() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    module.requires_grad_(False)
    x = torch.ones(1, 2)
    outputs = [lambda: module["b"](x), lambda: module["a"](x)]
    assert reached(module, *outputs) == ("a.weight", "a.bias", "b.weight", "b.bias")
    assert reached(module, *outputs, among=["b.bias", "a.weight"]) == ("a.weight", "b.bias")
    assert reached(module, outputs[0], among=["a.weight"]) == ()
    assert not any(p.requires_grad for p in module.parameters())
