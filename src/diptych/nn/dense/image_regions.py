"""An image as several vectors: the whole, and regions that its own attention selects (MacCap)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.towers.kernels import recording_attention
from diptych.core import Backbone, MissingHook

Weighting = Literal["reference", "raw", "renormalise"]
"""How a row of attention becomes the weights of a region; see ``region_weights``."""


def region_weights(attention: Tensor, weighting: Weighting) -> Tensor:
    """Return (..., T) weights of the tokens from rows of attention.

    - "reference": a softmax of the row, as in the authors' code. The row is a distribution already, so all weights are
      almost equal.
    - "raw": the row itself.
    - "renormalise": the row without the first token, rescaled to sum to 1.

    Args:
        attention: (..., T) probabilities, CLS first.
        weighting: one of the three.
    """
    if weighting == "reference":
        return attention.softmax(-1)
    if weighting == "raw":
        return attention
    rest = attention.clone()
    rest[..., 0] = 0
    return rest / rest.sum(-1, keepdim=True).clamp(min=1e-12)


def regions(
    whole: Tensor, tokens: Tensor, attention: Tensor, count: int, weight: float, weighting: Weighting
) -> Tensor:
    """Return the (B, K, D) vectors whole + weight * region.

    Args:
        whole: (B, D) unit image embeddings.
        tokens: (B, T, D) unit embeddings of the tokens, CLS first.
        attention: (B, T, T) probabilities.
        count: K; all tokens if there are fewer.
        weight: lambda; 0 gives K times the whole.
        weighting: see ``region_weights``.
    """
    chosen = attention[:, 0].topk(min(count, tokens.shape[1]), dim=1).indices
    rows = attention.gather(1, chosen[..., None].expand(-1, -1, attention.shape[-1]))
    region_vectors = normalize(region_weights(rows, weighting) @ tokens, dim=-1)
    return whole[:, None] + weight * region_vectors


def tokens_and_attention(backbone: Backbone, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return image embeddings, token embeddings and attention of normalised pixels.

    Without an image tower the cells of the dense map are the tokens, and the image embedding replaces CLS. A token then
    attends to the others by softmax(cos / 0.1).

    Args:
        backbone: embeds.
        x: (B, 3, H, W) normalised pixels.

    Returns:
        (B, D) unit image embeddings; (B, T, D) unit tokens, CLS first; (B, T, T) attention.

    Raises:
        MissingHook: the backbone has neither an image tower with CLS nor dense maps.
    """
    try:
        tower = backbone.tower("image")
    except MissingHook:
        dense = backbone.dense()
        m = dense.maps(x)[-1]
        n = m.shape[2] * m.shape[3]
        alone = torch.eye(n, device=m.device).reshape(1, n, *m.shape[2:]).expand(len(m), -1, -1, -1)
        whole = normalize(backbone.image.encode(x), dim=-1)
        tokens = torch.cat([whole[:, None], normalize(dense.project(dense.pool(m, alone)), dim=-1)], dim=1)
        return whole, tokens, (tokens @ tokens.mT / 0.1).softmax(-1)
    last, record = tower.depth - 1, dict[int, Tensor]()
    s = tower.blocks(tower.blocks(tower.start(x), stop=last), last, kernel=recording_attention(record))
    if s.prefix == 0 or s.pool is None:
        raise MissingHook(
            f"{backbone.spec.name} has no CLS token, whose attention chooses the regions: use a CLIP ViT, or lite."
        )
    whole = normalize(tower.project(tower.pooled(s)), dim=-1)
    return whole, normalize(tower.project(tower.norm(s.h)), dim=-1), record[last].mean(1)
