"""SCLIP lets each patch attend in CLIP's last block to the patches like it, and compares it with the class texts.

    A      = softmax(Q Q^T / sqrt(d)) + softmax(K K^T / sqrt(d)),   row by row and head by head
    y      = x + W_o A V,   z = y + MLP(LN2(y))
    logits = scale normalise(W_proj LN_post(z)) T^T + bias,   averaged over windows

Sizes: n tokens, C their dimensions, d those of a head, K classes, D dimensions of the embeddings
x: (n, C) tokens of CLS and patches before the last block of the image tower
Q, K, V: (n, d) queries, keys and values of a head of its attention;  W_o: its output projection
A: (n, n) attention, whose rows sum to 2;  z: (n, C) tokens after the block, of which CLS is left out
LN2, LN_post, W_proj: norm of the MLP, last norm and projection of the tower
T: (K, D) unit class embeddings of the text tower;  scale, bias: of the backbone's logits

Without an image tower, unit cells f / |f| of the last map stand for queries and keys, and cells f for values:

    A      = softmax(s cos(f, f)),   z = A f,   s: ``sharpness``
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.towers.kernels import probabilities
from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedSegmenter,
    Kit,
    MissingHook,
    Regions,
    Run,
    Samples,
    Segmenter,
)
from diptych.core.backbone import PLAIN
from diptych.core.ranges import at_least, check
from diptych.features.heads import text_head
from diptych.nn.dense.label_maps import Windows, cells
from diptych.nn.dense.patch_logits import patch_logits
from diptych.nn.dense.patches import cell_embeddings, check_patches, token_embeddings

WINDOWS = Windows(336, 224, 112)
"""SCLIP's, but for Cityscapes, whose shorter side is 560."""


def correlative_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return (B, heads, n, d) values, each the sum of two means: over tokens with like queries, and with like keys.

    Args:
        q: (B, heads, n, d) queries.
        k: (B, heads, n, d) keys.
        v: (B, heads, n, d) values.
        bias: (B or 1, 1 or heads, n, n) added to both logits; None: nothing is.
    """
    return (probabilities(q, q, bias) + probabilities(k, k, bias)) @ v


@dataclass(frozen=True)
class SCLIP(Segmenter):
    """Mix the values of the last block by correlative self-attention, and compare each patch with the class texts.

    Use it on ViTs whose patches alone are noisy. It costs one pass, as MaskCLIP does, over more and smaller windows.

    Args:
        windows: shorter side of the resize, window and stride, in pixels; the default is the paper's.
        sharpness: s, factor of the cosines of cells, >= 0, for backbones without an image tower; a tower's is
            1 / sqrt(d). 0 averages all cells. Default: ours, see the card.

    Raises:
        UsageError: sharpness is negative.

    Source: Wang et al. 2023, section 3.2 (correlative self-attention).

    Example:
        >>> import torch
        >>> from diptych.methods.segment.sclip import correlative_attention
        >>> q = torch.tensor([[[[9.0], [9.0], [-9.0]]]])  # the first two patches ask alike
        >>> correlative_attention(q, q, v=torch.tensor([[[[1.0], [3.0], [8.0]]]])).flatten()
        tensor([ 4.,  4., 16.])
    """

    windows: Windows = WINDOWS
    sharpness: float = 5.0

    def __post_init__(self) -> None:
        check(self, at_least(0), "sharpness")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSCLIP:
        """Embed the class texts.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        return FittedSCLIP(classes, backbone, text_head(backbone, classes.prompts(), run), self)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return mixed values; see ``correlative_attention``."""
        return correlative_attention(q, k, v, bias)


@dataclass(frozen=True)
class FittedSCLIP(FittedSegmenter):
    """A text head and the settings of the method.

    Args:
        classes: K names.
        backbone: embeds the patches.
        head: (K, D) unit class embeddings.
        method: the settings.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    method: SCLIP

    def embeddings(self, x: Tensor) -> Tensor:
        """Return (B, D, h, w) embeddings of the patches or cells of (B, 3, H, W) normalised pixels."""
        try:
            tower = self.backbone.tower("image")
        except MissingHook:
            dense = self.backbone.dense()
            m = dense.maps(x)[-1]
            v = m.flatten(2).mT[:, None]
            q = normalize(v, dim=-1) * (self.method.sharpness * v.shape[-1] ** 0.5) ** 0.5
            mixed = self.method.attend(q, q, v)[:, 0].mT / 2  # rows of A sum to 2, and no residual stands beside it
            return cell_embeddings(dense, mixed.reshape(m.shape))
        s = tower.blocks(tower.start(x, positions=PLAIN), stop=tower.depth - 1)
        h = tower.blocks(s, tower.depth - 1, kernel=lambda i, q, k, v, bias: self.method.attend(q, k, v, bias)).h
        assert s.grid is not None
        patches = h[:, s.prefix : s.prefix + s.grid[0] * s.grid[1]]
        return token_embeddings(tower, patches, pooled=s.pool is not None).mT.reshape(len(x), -1, *s.grid)

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits at the pixels of the resized image."""
        windows = self.method.windows
        for maps, size in patch_logits(images, self.backbone, self.head, windows, self.embeddings, run):
            yield cells(maps, size)
