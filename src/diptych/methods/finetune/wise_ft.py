"""WiSE-FT fine-tunes a model, and then averages its weights with those before fine-tuning.

    theta = (1 - alpha) theta_0 + alpha theta_1

theta_0: all weights before fine-tuning
theta_1: all weights after it
alpha: in [0, 1]; 0 is the model before, 1 the fine-tuned model
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diptych.core import Backbone, ClassNames, Evidence, Kit, Learns, Recipe, Run, Space, Trainee
from diptych.core.ranges import between, check
from diptych.core.train import everything
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee


def interpolated(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return (1 - alpha) start + alpha end for each name; integer tensors are those of the end."""
    return {n: torch.lerp(start[n].to(t), t, alpha) if t.is_floating_point() else t.clone() for n, t in end.items()}


class _Interpolated(TuningTrainee):
    """Fine-tunes all weights, and returns their average with the weights before."""

    def __init__(self, recipe: WiSEFT, space: Backbone, run: Run, classes: ClassNames | None, learns: Learns) -> None:
        super().__init__(
            space, run, classes, partial(contrastive, pair=("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        self.start, self.alpha = space.module().state_dict(), recipe.alpha

    def trained(self) -> Space:
        """Return the space with the averaged weights."""
        module = copy.deepcopy(self.space.module())
        module.load_state_dict(interpolated(self.start, module.state_dict(), self.alpha))
        return self.space.rebuild(module, self.space.spec)


@dataclass(frozen=True)
class WiSEFT(Recipe):
    """Fine-tune all weights, then average them with the weights before.

    Use it where a model must do well on a task and keep its accuracy under distribution shift.

    Args:
        alpha: share of the fine-tuned weights, in [0, 1]; 0.5 (the paper's, where nothing is known).
        smoothing: of the labels, in [0, 1); 0.0 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Wortsman et al. 2022, section 3.

    Example:
        >>> before, after = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 4.0])}
        >>> interpolated(before, after, alpha=0.5)
        {'w': tensor([0.5000, 3.0000])}
    """

    alpha: float = 0.5
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check(self, between(0, 1), "alpha")
        check(self, between(0, 1, "[)"), "smoothing")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``."""
        yield _Interpolated(self, kit.need(Backbone), run, classes, learns)
