"""CLIP's loss classifies each image among all captions of the batch, and each caption among all images.

    L = 1/2 ( CE(s x y^T) + CE(s y x^T) )

x, y: (N, D) unit embeddings of the images and the captions of N pairs
s: learnt scale
CE: mean cross-entropy of the rows, whose right column is on the diagonal

Orthonormal pairs have the loss ln(1 + (N - 1) e^-s). A collapsed model, whose embeddings are all equal, has ln N.
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
    """Match pairs by a softmax over the batch.

    Use it as the default for pairs; SigLIPLoss suits small batches better. Each process computes B of the N rows
    against all N gathered columns. Gradients pass through the gather, so they are exact.

    Args:
        pair: the two modalities; ("image", "text").
        chunk: rows of logits in memory at a time; None (default) is all. A smaller number is slower, with the same
            result.

    Source: Radford et al. 2021, figure 3.

    Example:
        >>> import torch
        >>> x, scale = torch.eye(4), torch.tensor(10.0)
        >>> e = Embedded({"image": x, "text": x}, lambda a, b: (scale, torch.zeros(())), gather=lambda t: t)
        >>> clock = Clock(0, 1, 0, torch.Generator())
        >>> round(CLIPLoss().terms(e, nn.Identity(), clock)["contrastive"].item(), 6)  # ln(1 + 3 e^-10)
        0.000136
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
        claim="Matching images with their captions among the other pairs of a batch trains an image and a text encoder "
        "that share one embedding space.",
        needs=Needs(hooks=("image", "text", "rebuild"), evidence=("train",), optional=("val",)),
        trains="both towers and the scale",
        headlines=(
            Headline(
                "ImageNet", "CLIP RN50", "zero-shot top-1", 60.32, "", "log of Tip-Adapter's authors, 7 templates"
            ),
        ),
        reference=Reference("https://github.com/mlfoundations/open_clip", "v3.3.0", "MIT"),
        differs=(
            "open_clip has four forms of gathering. Two of them give other gradients (divided by the number of "
            "processes, or in a wrong direction), so here is the exact form alone.",
            "open_clip adds a bias to the logits where a model has one; it changes neither value nor gradient, so it "
            "is left out.",
            "In mixed precision the logits are computed in float32; open_clip computes them in half precision.",
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
        """Return L as "contrastive".

        Args:
            e: (B, D) vectors of both modalities, and the scale.
            heads: not used.
            clock: not used.
        """
        return {"contrastive": contrastive(e, self.pair, self.chunk)}
