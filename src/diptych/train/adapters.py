"""Low-rank adapters of linear layers, by peft."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from diptych.core import Learns, MissingHook, Run
from diptych.core.errors import need_extra
from diptych.core.train import everything


def adapter_targets(module: nn.Module, learns: Learns = everything) -> list[str]:
    """Return the names of the layers that get adapters: linear layers, and each multi-head attention as a whole.

    Args:
        module: of a space or a language model.
        learns: whether a parameter of this name may be trained; layers with a frozen weight are left out.
    """
    attention = [
        n for n, m in module.named_modules() if isinstance(m, nn.MultiheadAttention) and learns(f"{n}.in_proj_weight")
    ]
    inside = tuple(f"{n}." for n, m in module.named_modules() if isinstance(m, nn.MultiheadAttention))
    linear = [
        n
        for n, m in module.named_modules()
        if isinstance(m, nn.Linear) and learns(f"{n}.weight") and not n.startswith(inside)
    ]
    return attention + linear


class Adapters:
    """Adapters inside a module, which is changed: its weights are frozen, and the names of layers with adapters differ.

    Args:
        module: the module, which is modified in place.
        names: of the layers; see ``adapter_targets``.
        rank: r, >= 1.
        alpha: numerator of the factor alpha / r.
        run: its seed draws the first matrices.
        dropout: on the inputs of the adapters, in [0, 1).
        what: what is adapted, for errors.

    Raises:
        MissingExtra: peft is not installed.
        MissingHook: there is no layer.
    """

    def __init__(
        self,
        module: nn.Module,
        names: list[str],
        rank: int,
        alpha: float,
        run: Run,
        *,
        dropout: float = 0.0,
        what: str = "this module",
    ) -> None:
        need_extra("lora", "LoRA")
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
        from peft.tuners.lora.layer import MultiheadAttention

        if not names:
            raise MissingHook(f"{what} has no linear layer that may be trained: allow more of its layers, or use full.")
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, lora_dropout=dropout, bias="none")
        with run.seeded("lora"):
            self._adapted: Any = LoraModel(module, {"default": config}, "default")
        for layer in self._adapted.modules():
            if isinstance(layer, MultiheadAttention):
                _FrozenWeights().keep(layer)

    def merged(self) -> nn.Module:
        """Return a copy of the module with the adapters added to its weights, under the names of before."""
        module: nn.Module = copy.deepcopy(self._adapted).merge_and_unload()
        return module


class _FrozenWeights:
    """The frozen weights of an attention, put back after each forward pass.

    peft adds the adapter to them before a pass and takes it off afterwards, which leaves other bits: weights that drift
    with every step, and that a resumed training, which starts from those of before, has not.
    """

    def keep(self, layer: Any) -> None:
        layer.register_forward_pre_hook(self.before)
        layer.register_forward_hook(self.after, always_call=True)

    def before(self, layer: Any, _: object) -> None:
        self.weights = [weight.data for weight in _weights(layer)]

    def after(self, layer: Any, *_: object) -> None:
        for weight, data in zip(_weights(layer), self.weights, strict=True):
            weight.data = data


def _weights(layer: Any) -> tuple[nn.Parameter, nn.Parameter]:
    attention = layer.get_base_layer()
    return attention.in_proj_weight, attention.out_proj.get_base_layer().weight
