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

from torch import Tensor, nn

from diptych.core import Clock, Embedded, Objective
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

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return L as "contrastive".

        Args:
            e: (B, D) vectors of both modalities, and the scale.
            heads: not used.
            clock: not used.
        """
        return {"contrastive": contrastive(e, self.pair, self.chunk)}
