from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook, Run
from diptych.features.networks import inference, reached, twin_of
from tests.support.backbone import SmallBackbone
from tests.support.small_clip import small_clip


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


def test_training_a_twin_leaves_the_backbone_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    backbone = small_clip(tmp_path_factory.mktemp("clip") / "vit")
    twin, before = twin_of(backbone), {n: t.clone() for n, t in backbone.module().state_dict().items()}
    with torch.no_grad():
        for p in twin.module().parameters():
            p.add_(1.0)
    assert all(torch.equal(t, before[n]) for n, t in backbone.module().state_dict().items())
    assert not torch.equal(next(twin.module().parameters()), next(backbone.module().parameters()))


def test_a_backbone_that_cannot_be_rebuilt_is_refused() -> None:
    with pytest.raises(MissingHook):
        twin_of(SmallBackbone())


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_run_without_gradients_in_the_precision_of_the_run(precision: str, dtype: torch.dtype) -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with inference(Run(precision=precision)):
        y = layer(x)
    assert y.dtype == dtype
    assert not y.requires_grad
    assert layer(x).requires_grad
    assert layer(x).dtype == torch.float32


def test_modes_come_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), inference(Run(precision="bf16")):
        raise ValueError("broken")
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
