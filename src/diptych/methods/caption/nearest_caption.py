"""Nearest caption describes an image by the sentence of a pool whose embedding is nearest to the image's.

    t* = argmax over t of cos(text(t), image)

t: one of the M sentences of the pool
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.caption import Captioner, FittedCaptioner
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import Evidence, Samples, Text, Texts
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.captions import sentences
from diptych.features.embed import embed


@dataclass(frozen=True)
class NearestCaption(Captioner):
    """Caption images with sentences of a pool, without any training.

    Use it as the baseline that a captioner must beat, or where only approved sentences may be shown.

    Source: Devlin et al. 2015, section 3 (captions of nearest neighbours).

    Example:
        >>> import torch
        >>> texts = ("a photo of a cat", "a photo of a bridge")
        >>> vectors = torch.eye(2, 4)
        >>> image = normalize(torch.tensor([0.2, 0.9, 0.1, 0.0]), dim=0)
        >>> texts[int((vectors @ image).argmax())]
        'a photo of a bridge'
    """

    card: ClassVar[Card] = Card(
        slug="nearest-caption",
        name="Nearest caption",
        title="Exploring Nearest Neighbor Approaches for Image Captioning",
        url="https://arxiv.org/abs/1505.04467",
        year=2015,
        verb="caption",
        claim="A sentence that somebody wrote about a similar image describes this one too.",
        needs=Needs(hooks=("image", "text"), evidence=("texts",)),
        trains="nothing",
        differs=(
            "The sentence nearest to the image itself, in a joint space; the paper takes a consensus of those of near "
            "images.",
        ),
        proof=ProofPlan(
            claim="The nearest of other photos' sentences describes a photo better than one of them at random "
            "(CIDEr-D).",
            control="With the photos permuted it is no better.",
            datasets=("flickr8k_small",),
        ),
        baseline=True,
    )

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedNearestCaption:
        """Embed the sentences of the pool.

        Raises:
            MissingEvidence: there are no texts.
        """
        backbone = kit.need(Backbone)
        pool = sentences(evidence)
        return FittedNearestCaption(backbone, pool, normalize(embed(backbone.text, Texts(pool), run), dim=-1))


@dataclass(frozen=True)
class FittedNearestCaption(FittedCaptioner):
    """Finds the sentences nearest to an image.

    Args:
        texts: M sentences.
        vectors: (M, D) unit embeddings.
    """

    backbone: Backbone
    texts: tuple[str, ...]
    vectors: Tensor

    def caption(self, images: Samples[Any], run: Run, *, n: int = 1) -> list[list[Text]]:
        """Return the ``n`` sentences nearest to each image; see ``FittedCaptioner``."""
        z = normalize(embed(self.backbone.image, images, run), dim=-1)
        best = (z @ self.vectors.T).topk(min(n, len(self.texts)), dim=1).indices.tolist() if len(z) else []
        return [[Text(self.texts[i], writer="nearest-caption") for i in row] for row in best]
