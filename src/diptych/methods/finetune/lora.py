"""LoRA: the weights stay, and a product of two thin matrices beside each of them learns; merged in the end, it costs
nothing.

W' = W + (alpha / r) B A,   A (r, in) drawn, B (out, r) zero at the start
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from diptych.core.backbone import Backbone, Space
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import ClassNames, Evidence
from diptych.core.errors import MissingExtra, MissingHook
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Learns, ParamGroup, Recipe, Trainee, everything
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee


def targets(module: nn.Module, learns: Learns) -> list[str]:
    """Return the names of the layers that get adapters: linear ones, and multi-head attention as a whole, whose weight
    may learn.
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


FASTER = 10.0
"""Factor on the learning rate of whole weights."""


class _Adapted(TuningTrainee):
    def __init__(self, recipe: LoRA, space: Backbone, run: Run, classes: ClassNames | None, learns: Learns) -> None:
        super().__init__(
            space, run, classes, lambda e: contrastive(e, ("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError:
            raise MissingExtra("peft", "lora", "LoRA") from None
        self.origin = space
        names = targets(self.space.module(), self.learns)
        if not names:
            raise MissingHook(
                f"{space.spec.name} has no linear layer that may learn: let more of it learn, or use full."
            )
        config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=names, lora_dropout=0.0, bias="none")
        with run.seeded("lora"):
            self.adapted = LoraModel(self.space.module(), {"default": config}, "default")

    def groups(self) -> list[ParamGroup]:
        """Return the adapters; they learn ``FASTER`` than whole weights would, and do not decay."""
        return [ParamGroup(tuple(n for n, _ in self._module.named_parameters() if ".lora_" in n), FASTER, 0.0)]

    def trained(self) -> Space:
        """Return the space with the adapters merged into its weights."""
        module = copy.deepcopy(self.origin.module())
        module.load_state_dict(copy.deepcopy(self.adapted).merge_and_unload().state_dict())
        return self.origin.rebuild(module, self.origin.spec)


@dataclass(frozen=True)
class LoRA(Recipe):
    """Fine-tune low-rank adapters beside every linear layer that may learn, by peft.

    Args:
        rank: r, 8 (ours).
        alpha: numerator of the factor alpha / r, 16.0 (ours).
        smoothing: of the labels.

    Source: Hu et al. 2022, section 4.1.
    """

    rank: int = 8
    alpha: float = 16.0
    smoothing: float = 0.0

    card: ClassVar[Card] = Card(
        slug="lora",
        name="LoRA",
        title="LoRA: Low-Rank Adaptation of Large Language Models",
        url="https://arxiv.org/abs/2106.09685",
        year=2022,
        verb="finetune",
        claim="A low-rank change of each weight fits a task nearly as well as a full one, with a hundredth of the "
        "parameters.",
        needs=Needs(
            hooks=("image", "text", "rebuild"), extras=("train", "lora"), evidence=("train",), optional=("val",)
        ),
        trains="two thin matrices beside every linear layer that may learn",
        differs=(
            "The paper adapts attention only; here all linear layers are adapted, as later practice does, and the "
            "learning rate of a"
            " fine-tuning is multiplied by 10 for them.",
        ),
        proof=ProofPlan(
            claim="Adapters on the heads of lite, trained on a task, classify its unseen photos above zero-shot.",
            control="Trained on permuted labels they do not.",
            datasets=("clothing_small",),
            minutes=2,
        ),
        baseline=True,
    )

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingExtra: peft is not installed.
            MissingHook: no layer that may learn can take an adapter.
        """
        yield _Adapted(self, kit.need(Backbone), run, classes, learns)
