"""CLIP's loss: every image picks its caption among all captions of the batch, and every caption its image.

    L = 1/2 ( CE(s x y^T) + CE(s y x^T) )

with x, y the (N, D) unit embeddings of N pairs, s the learnt scale, and CE the mean cross-entropy of rows whose partner
stands on the diagonal. Separated orthonormal pairs reach ln(1 + (N - 1) e^-s); a collapsed model stays at ln N.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.train import Clock, Embedded, Objective
from diptych.nn.contrastive import contrastive


@dataclass(frozen=True)
class CLIPLoss(Objective):
    """Match pairs by softmax over the batch. The plain choice; SigLIPLoss suits small batches better.

    Each process scores its own B rows against the gathered N columns, with gradient through the gather: the one form
    whose gradients are exact and whose logits stay B x N.

    Args:
        pair: the two modalities.
        chunk: rows whose logits exist at once; None: all. Smaller is slower and exact all the same.

    Source: Radford et al. 2021, figure 3.

    Example:
        >>> CLIPLoss(chunk=256).pair
        ('image', 'text')
    """

    pair: tuple[str, str] = ("image", "text")
    chunk: int | None = None

    card: ClassVar[Card] = Card(
        slug="clip-loss",
        name="CLIP",
        title="Learning Transferable Visual Models From Natural Language Supervision",
        url="https://arxiv.org/abs/2103.00020",
        year=2021,
        verb="pretrain",
        claim="Matching images with their captions among the other pairs of a batch teaches both towers one space.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="both towers and the scale",
        headlines=(
            Headline(
                "ImageNet", "CLIP RN50", "zero-shot top-1", 60.32, "", "log of Tip-Adapter's authors, 7 templates"
            ),
        ),
        reference=Reference("https://github.com/mlfoundations/open_clip", "v3.3.0", "MIT"),
        differs=(
            "open_clip offers four forms of gathering; two of them give other gradients (towers divided by the number "
            "of processes, or a"
            " wrong direction), so only the exact one exists here.",
            "open_clip adds a bias to the logits where a model has one; it changes neither value nor gradient, so it "
            "is left out.",
            "In mixed precision the logits are computed in float32; open_clip leaves them in half precision.",
        ),
        proof=ProofPlan(
            claim="Heads on frozen towers that learn from captioned photos find unseen photos by caption, and back, "
            "far above chance.",
            control="The same training with captions permuted against photos stays at chance.",
            datasets=("flickr8k_small",),
            minutes=4,
        ),
        baseline=True,
    )

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"contrastive": scalar}.

        Args:
            e: (B, D) vectors of both modalities, their scale.
            heads: not used.
            clock: not used.
        """
        return {"contrastive": contrastive(e, self.pair, self.chunk)}
