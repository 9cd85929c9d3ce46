"""SigLIP's loss classifies each combination of an image and a caption of the batch as a pair or not, on its own.

    k = s x y^T + b
    L = 1/N sum over i, j of softplus(-z_ij k_ij)

x, y: (N, D) unit embeddings of the images and the captions of N pairs
k: (N, N) logits;  s: learnt scale, 10 at the start;  b: learnt bias, -10 at the start
z: (N, N), +1 on the diagonal and -1 elsewhere

The bias at the start keeps the N^2 - N negatives from dominating the first steps. Orthogonal embeddings then have the
loss softplus(10) + (N - 1) softplus(-10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.core import Clock, Embedded, Objective, Space
from diptych.nn.contrastive import sigmoid_pairs, sigmoid_ring, wide


@dataclass(frozen=True)
class SigLIPLoss(Objective):
    """Match pairs by a binary classification of every image with every caption.

    Use it where batches are small. A backbone without a learnt bias gets one, and the scale starts anew.

    Args:
        pair: the two modalities; ("image", "text").
        chunk: rows of logits in memory at a time; None (default) is all. A smaller number is slower, with the same
            result.
        start: (s, b) at the start where the backbone has no bias; (10.0, -10.0).

    Source: Zhai et al. 2023, in the form of open_clip's SigLipLoss.

    Example:
        >>> import torch
        >>> from torch.nn.functional import softplus
        >>> x, y = torch.eye(4, 8), torch.eye(8)[4:]  # orthogonal embeddings
        >>> loss = sigmoid_pairs(x, y, torch.tensor(10.0), torch.tensor(-10.0), 0, None)
        >>> ten = torch.tensor(10.0)
        >>> bool((loss - softplus(ten) - 3 * softplus(-ten)).abs() < 1e-6)
        True
    """

    pair: tuple[str, str] = ("image", "text")
    chunk: int | None = None
    start: tuple[float, float] = (10.0, -10.0)

    def prepared(self, space: Space) -> Space:
        """Return the space, with a bias at its start where it has none.

        Raises:
            MissingHook: the space has no bias and takes none.
        """
        names = {n.rsplit(".", 1)[-1] for n, _ in space.module().named_parameters()}
        scale, bias = self.start
        return space if "logit_bias" in names else changed(space, "logit-bias", scale=scale, bias=bias)

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return L as "sigmoid".

        Args:
            e: (B, D) vectors of both modalities, the scale and the bias.
            heads: not used.
            clock: not used.
        """
        x, y = (normalize(wide(e.vectors[m]), dim=-1) for m in self.pair)
        scale, bias = e.scale(*self.pair)
        if e.ring is not None:
            return {"sigmoid": sigmoid_ring(x, y, scale, bias, e.ring, self.chunk)}
        return {"sigmoid": sigmoid_pairs(x, e.gather(y), scale, bias, e.rank * len(x), self.chunk)}
