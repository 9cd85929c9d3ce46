"""A new joint space over frozen towers: one untrained linear head a modality, a scale and a bias."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from diptych.backbones.spec import state_hash
from diptych.core import MissingHook, Run, Spec
from diptych.features.frozen import Headed, HeadSpace, Memory, Trunk


class Heads(nn.Module):
    """Linear heads of a new joint space, with a learnt scale and bias.

    Args:
        widths: modality -> C of its trunk.
        dim: joint width D.
        scale, bias: their initial values.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, scale: float, bias: float) -> None:
        super().__init__()
        self.linear = nn.ModuleDict({m: nn.Linear(width, dim) for m, width in widths.items()})
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = nn.Parameter(torch.tensor(bias))


class Fresh(HeadSpace):
    """A new joint space over frozen trunks.

    Args:
        trunks, memory, spec: as for ``HeadSpace``.
    """

    def __init__(self, heads: Heads, trunks: Mapping[str, Trunk], memory: Memory, spec: Spec) -> None:
        self._heads = heads.eval()
        linear = dict(heads.linear.items())
        super().__init__(trunks, memory, spec, state_hash(heads), linear)

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return the learnt scale and bias."""
        return self._heads.logit_scale.exp(), self._heads.logit_bias

    def module(self) -> nn.Module:
        """Return the heads."""
        return self._heads

    def rebuild(self, module: nn.Module, spec: Spec) -> Fresh:
        """Return a space of the same trunks with other heads.

        Raises:
            MissingHook: the module is no ``Heads``.
        """
        if not isinstance(module, Heads):
            raise MissingHook(
                f"Fresh heads can be rebuilt with a Heads module only, got a {type(module).__name__}: give a Heads."
            )
        return Fresh(module, self.trunks, self.memory, spec)


def fresh_heads(space: Headed, dim: int, run: Run, *, scale: float = 1 / 0.07, bias: float = 0.0) -> Fresh:
    """Return a new, untrained joint space over the trunks of a backbone.

    Args:
        space: the backbone with the trunks.
        dim: joint width D.
        run: its seed fixes the weights.
        scale: initial inverse temperature; CLIP's by default.
        bias: initial bias of all logits; SigLIP starts at -10, with scale 10.
    """
    width = {m: trunk.dim for m, trunk in space.trunks.items()}
    with run.seeded("fresh heads"):
        heads = Heads(width, dim, scale, bias)
    spec = replace(space.spec, name=f"heads on {space.spec.name}", dim=dim, weights="random")
    return Fresh(heads, space.trunks, space.memory, spec)
