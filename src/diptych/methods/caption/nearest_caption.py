"""Nearest caption describes an image by the sentence of a pool whose embedding is nearest to the image's.

    t* = argmax over t of cos(text(t), image)

t: one of the M sentences of the pool
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Captioner, Evidence, FittedCaptioner, Kit, Run, Samples, Text, Texts
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
