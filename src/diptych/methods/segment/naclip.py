"""NACLIP lets each patch attend in CLIP's last block to the patches like it and near it, without the rest of the block.

    A      = softmax(K K^T / sqrt(d) + G),   row by row and head by head
    G_pq   = exp(-|p - q|^2 / (2 sigma^2))   between patches, 0 where one of the two is CLS
    z      = W_o A V                         without residual and MLP
    logits = scale normalise(W_proj LN_post(z)) T^T + bias,   averaged over windows

Sizes: n tokens, C their dimensions, d those of a head, K classes, D dimensions of the embeddings
K, V: (n, d) keys and values of a head of the last block's attention;  W_o: its output projection
|p - q|: distance of two patches on the grid, in patches;  sigma: width of the neighbourhood, in patches
z: (n, C) tokens, of which CLS is left out;  LN_post, W_proj: last norm and projection of the tower
T: (K, D) unit class embeddings of the text tower;  scale, bias: of the backbone's logits

Without an image tower, unit cells f / |f| of the last map stand for keys, and cells f for values:

    A      = softmax(s cos(f, f) + G),   z = A f,   s: ``sharpness``
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

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
from diptych.core.ranges import above, at_least, check
from diptych.features.heads import text_head
from diptych.nn.dense.label_maps import Windows, cells
from diptych.nn.dense.patch_logits import patch_logits
from diptych.nn.dense.patches import cell_embeddings, check_patches, token_embeddings

WINDOWS = Windows(336, 224, 112)
"""SCLIP's, whose protocol the authors follow."""


def neighbourhood(height: int, width: int, sigma: float) -> Tensor:
    """Return G (h w, h w), in (0, 1]: a Gaussian of the distance of each patch from each, in the order of rows.

    Args:
        height: h, patches.
        width: w, patches.
        sigma: width of the Gaussian in patches, > 0.

    Example:
        >>> neighbourhood(1, 3, sigma=1.0)[0].round(decimals=2)
        tensor([1.0000, 0.6100, 0.1400])
    """
    down, across = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    squares = [(axis[:, None] - axis).square() for axis in (down, across)]
    distances = squares[0][:, None, :, None] + squares[1][None, :, None, :]
    return torch.exp(-distances / (2 * sigma**2)).reshape(height * width, -1).float()


@dataclass(frozen=True)
class NACLIP(Segmenter):
    """Mix the values of the last block among like and near patches, and compare each patch with the class texts.

    Use it on ViTs where SCLIP's patches attend to like ones far away. It costs one pass over the same windows.

    Args:
        windows: shorter side of the resize, window and stride, in pixels; the default is the authors'.
        sigma: width of the neighbourhood, in patches or cells, > 0 (default 5, the authors').
        sharpness: s, factor of the cosines of cells, >= 0, for backbones without an image tower; a tower's is
            1 / sqrt(d). Default: ours, as in SCLIP, see the card.

    Raises:
        UsageError: sigma is not above 0, or sharpness is negative.

    Source: Hajimiri et al. 2025, section 3 (neighbourhood, keys, reduced last block).
    """

    windows: Windows = WINDOWS
    sigma: float = 5.0
    sharpness: float = 5.0

    def __post_init__(self) -> None:
        check(self, above(0), "sigma")
        check(self, at_least(0), "sharpness")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedNACLIP:
        """Embed the class texts.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        return FittedNACLIP(classes, backbone, text_head(backbone, classes.prompts(), run), self)

    def attend(self, k: Tensor, v: Tensor, near: Tensor) -> Tensor:
        """Return (B, heads, n, d) mixed values.

        Args:
            k: (B, heads, n, d) keys.
            v: (B, heads, n, d) values.
            near: (..., n, n) added to the logits: G, 0 for tokens that are no patch.
        """
        return probabilities(k, k, near) @ v

    def near(self, grid: tuple[int, int]) -> Tensor:
        """Return G (h w, h w) of a grid (h, w)."""
        return neighbourhood(*grid, self.sigma)


@dataclass(frozen=True)
class FittedNACLIP(FittedSegmenter):
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
    method: NACLIP

    def embeddings(self, x: Tensor) -> Tensor:
        """Return (B, D, h, w) embeddings of the patches or cells of (B, 3, H, W) normalised pixels."""
        try:
            tower = self.backbone.tower("image")
        except MissingHook:
            dense = self.backbone.dense()
            m = dense.maps(x)[-1]
            v = m.flatten(2).mT[:, None]
            k = normalize(v, dim=-1) * (self.method.sharpness * v.shape[-1] ** 0.5) ** 0.5
            mixed = self.method.attend(k, v, self.method.near((m.shape[2], m.shape[3])).to(k))[:, 0].mT
            return cell_embeddings(dense, mixed.reshape(m.shape))
        s = tower.blocks(tower.start(x, positions=PLAIN), stop=tower.depth - 1)
        assert s.grid is not None
        patches = slice(s.prefix, s.prefix + s.grid[0] * s.grid[1])
        after = s.h.shape[1] - patches.stop
        near = pad(self.method.near(s.grid), (s.prefix, after, s.prefix, after)).to(s.h)
        h = tower.attend(
            s,
            tower.depth - 1,
            lambda i, q, k, v, bias: self.method.attend(k, v, near if bias is None else near + bias.to(near)),
        )
        z = token_embeddings(tower, h[:, patches], pooled=s.pool is not None)
        return z.mT.reshape(len(x), -1, *s.grid)

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits at the pixels of the resized image."""
        windows = self.method.windows
        for maps, size in patch_logits(images, self.backbone, self.head, windows, self.embeddings, run):
            yield cells(maps, size)
