"""LoRA adds a trained product of two thin matrices to each frozen weight matrix, and merges it after training.

    W' = W + (alpha / r) B A

W: (out, in) weight of a linear layer, frozen
A: (r, in) drawn at random at the start
B: (out, r) zero at the start, so that training starts from W
r: rank;  alpha: scales the change
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from diptych.core import Backbone, ClassNames, Evidence, Kit, Learns, ParamGroup, Recipe, Run, Space, Trainee
from diptych.core.train import everything
from diptych.nn.contrastive import contrastive
from diptych.train.adapters import Adapters, adapter_targets
from diptych.train.tuning import TuningTrainee

FASTER = 10.0
"""Factor on the learning rate, compared with training whole weights."""


class _Adapted(TuningTrainee):
    """Fine-tunes adapters of a copy of the space, and returns it with the adapters merged."""

    def __init__(self, recipe: LoRA, space: Backbone, run: Run, classes: ClassNames | None, learns: Learns) -> None:
        super().__init__(
            space, run, classes, partial(contrastive, pair=("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        self.origin = space
        names = adapter_targets(self.space.module(), self.learns)
        self.adapters = Adapters(self.space.module(), names, recipe.rank, recipe.alpha, run, what=space.spec.name)

    def groups(self) -> list[ParamGroup]:
        """Return the adapters, with a learning rate of ``FASTER`` times the usual one and without weight decay."""
        return [ParamGroup(tuple(n for n, _ in self._module.named_parameters() if ".lora_" in n), FASTER, 0.0)]

    def trained(self) -> Space:
        """Return the space with the adapters merged into its weights."""
        module = copy.deepcopy(self.origin.module())
        module.load_state_dict(self.adapters.merged().state_dict())
        return self.origin.rebuild(module, self.origin.spec)


@dataclass(frozen=True)
class LoRA(Recipe):
    """Fine-tune low-rank adapters of every linear layer that may be trained, by peft.

    Use it where full fine-tuning needs too much memory. The result has the size and speed of the original model.

    Args:
        rank: r, >= 1; 8 (ours).
        alpha: numerator of the factor alpha / r, > 0; 16.0 (ours).
        smoothing: of the labels, in [0, 1); 0.0 (ours).

    Source: Hu et al. 2022, section 4.1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        >>> a, b = torch.randn(2, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(6, 2)
        >>> torch.equal(weight + LoRA().alpha / 2 * b @ a, weight)  # unchanged at the start
        True
        >>> tower = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 4))
        >>> adapter_targets(tower)
        ['0', '2']
    """

    rank: int = 8
    alpha: float = 16.0
    smoothing: float = 0.0

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingExtra: peft is not installed.
            MissingHook: no layer that may be trained can have an adapter.
        """
        yield _Adapted(self, kit.need(Backbone), run, classes, learns)
