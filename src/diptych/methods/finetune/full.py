"""Full fine-tuning: every parameter that may learn follows the task, and nothing holds it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import ClassNames, Evidence
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Learns, Recipe, Trainee, everything
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee


@dataclass(frozen=True)
class Full(Recipe):
    """Train both towers on labelled classes (cross-entropy over prompts) or on captions (CLIP's loss).

    Args:
        smoothing: of the labels, in [0, 1); 0.0 (ours).

    Source: Radford et al. 2021, section 3.1; the text tower learns too, as in Goyal et al. 2023 (FLYP).
    """

    smoothing: float = 0.0

    card: ClassVar[Card] = Card(
        slug="full",
        name="full fine-tuning",
        title="Learning Transferable Visual Models From Natural Language Supervision",
        url="https://arxiv.org/abs/2103.00020",
        year=2021,
        verb="finetune",
        claim="Training all parameters on a task fits it best, and costs what the model knew of other tasks.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="both towers, or the parts that the user names; not the scale",
        differs=(
            "Fine-tuning usually trains the image tower under a linear head; here class prompts are the head, and "
            "names still work.",
        ),
        proof=ProofPlan(
            claim="The heads of lite, trained on a task, classify its unseen photos above zero-shot.",
            control="Trained on permuted labels they do not.",
            datasets=("clothing_small",),
            minutes=2,
        ),
        baseline=True,
    )

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee."""
        space = kit.need(Backbone)
        yield TuningTrainee(
            space, run, classes, lambda e: contrastive(e, ("image", "text")), learns=learns, smoothing=self.smoothing
        )
