"""WiSE-FT: fine-tune, then walk part of the way back to the weights that training started from.

    theta = (1 - alpha) theta_0 + alpha theta_1

alpha = 0 is the model before, alpha = 1 the fine-tuned one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from diptych.core.backbone import Backbone, Space
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import ClassNames, Evidence
from diptych.core.kit import Kit
from diptych.core.ranges import between, check
from diptych.core.run import Run
from diptych.core.train import Learns, Recipe, Trainee, everything
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee


def interpolated(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return (1 - alpha) start + alpha end, name by name; integers are those of the end."""
    return {n: torch.lerp(start[n].to(t), t, alpha) if t.is_floating_point() else t.clone() for n, t in end.items()}


class _Interpolated(TuningTrainee):
    def __init__(self, recipe: WiSEFT, space: Backbone, run: Run, classes: ClassNames | None, learns: Learns) -> None:
        super().__init__(
            space, run, classes, lambda e: contrastive(e, ("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        self.start, self.alpha = space.module().state_dict(), recipe.alpha

    def trained(self) -> Space:
        """Return the space at alpha between before and after."""
        module = copy.deepcopy(self.space.module())
        module.load_state_dict(interpolated(self.start, module.state_dict(), self.alpha))
        return self.space.rebuild(module, self.space.spec)


@dataclass(frozen=True)
class WiSEFT(Recipe):
    """Fine-tune fully, then average with the weights before.

    Args:
        alpha: how far towards the fine-tuned weights, in [0, 1]; 0.5, as the paper recommends where nothing is known.
        smoothing: of the labels.

    Source: Wortsman et al. 2022, section 3.

    Raises:
        UsageError: alpha outside [0, 1].
    """

    alpha: float = 0.5
    smoothing: float = 0.0

    card: ClassVar[Card] = Card(
        slug="wise-ft",
        name="WiSE-FT",
        title="Robust fine-tuning of zero-shot models",
        url="https://arxiv.org/abs/2109.01903",
        year=2022,
        verb="finetune",
        claim="Averaging the weights before and after fine-tuning keeps most of the gain on the task and most of what "
        "was known before.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="as full fine-tuning; then all weights are interpolated",
        differs=(
            "The paper interpolates the image tower and a classifier made from prompts; here both towers, since "
            "prompts stay the head.",
        ),
        proof=ProofPlan(
            claim="After all weights of tiny have learnt photos of clothes, the average names composed scenes above "
            "the tuned weights,"
            " and clothes above those before.",
            control="Averaged at alpha = 1 they are the fine-tuned ones and gain nothing.",
            datasets=("towers:clothing_small",),
            minutes=20,
        ),
        baseline=True,
    )

    def __post_init__(self) -> None:
        check(self, between(0, 1), "alpha")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee."""
        yield _Interpolated(self, kit.need(Backbone), run, classes, learns)
