"""Mask proposals without training: neighbouring cells of similar colour, or features, merged at every scale."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.mask_models.merge_tree import MergeTree
from diptych.core import Proposals, Space, UsageError
from diptych.core.ranges import above, at_least, between, check
from diptych.data.images import upright_rgb
from diptych.data.pixels import normalise

DIRECTIONS = 8
"""Directions of an encoder's features that are kept."""


@dataclass(frozen=True)
class MergedCells:
    """Regions of a picture at every scale, by merging neighbouring cells of similar colour and features.

    The picture is resized to at most ``side`` cells. Ward's rule merges the two neighbours whose union raises the sum
    of squared distances to the mean the least, until one region is left; regions of the tree within the sizes are
    proposed, largest first. A cell is its CIELAB-like opponent colours, and the standard deviation of its brightness.

    Args:
        side: cells along the longer side, >= 2 (default ours).
        least, most: share of the picture of a proposed region, in (0, 1].
        count: regions at most, >= 1.
        finest: regions of the finest cut, which together cover the picture and are always proposed, >= 1.
        encoder: whose features join the colours: the map before the last, or the only one, on the 8 directions in which
            the picture's cells differ the most. None: colours alone, and no weights.
        weight: of the features beside the colours, both at unit standard deviation, > 0.
        pixels: shorter side at which the encoder sees the picture, >= 1.

    Raises:
        UsageError: a number outside its range, or ``least`` above ``most``.

    Source: Ward 1963 with a connectivity constraint, as scikit-learn has it; proposals from a tree of merges are the
    idea of Selective Search (Uijlings et al. 2013).

    Example:
        >>> from PIL import Image
        >>> picture = Image.new("RGB", (40, 20), "red")
        >>> picture.paste("blue", (20, 0, 40, 20))
        >>> proposals = MergedCells(side=16, count=4, finest=2).propose(picture)
        >>> proposals.masks.flatten(1).mean(1)[:2]  # the two halves
        tensor([0.5000, 0.5000])
    """

    side: int = 64
    least: float = 0.005
    most: float = 0.95
    count: int = 64
    finest: int = 24
    encoder: Space | None = None
    weight: float = 1.0
    pixels: int = 384

    def __post_init__(self) -> None:
        check(self, at_least(1), "count", "finest", "pixels")
        check(self, above(0), "weight")
        check(self, at_least(2), "side")
        check(self, between(0, 1, "(]"), "least", "most")
        if self.least > self.most:
            raise UsageError(f"least must be at most most, got {self.least} and {self.most}: change one.")

    @property
    def fingerprint(self) -> str:
        """Hash of the settings and of the encoder."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "encoder"}
        known = "" if self.encoder is None else self.encoder.fingerprint
        return hashlib.sha256(f"merged-cells/1/{json.dumps(facts)}/{known}".encode()).hexdigest()[:16]

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the regions, largest first; each cell lies in one region of the finest cut."""
        picture = upright_rgb(image)
        vectors = cell_vectors(picture, self.side)
        if self.encoder is not None:
            seen = feature_vectors(picture, self.encoder, (vectors.shape[0], vectors.shape[1]), self.pixels)
            vectors = np.concatenate([_scaled(vectors), self.weight * _scaled(seen)], axis=-1)
        height, width = vectors.shape[:2]
        cells = height * width
        tree = MergeTree.of(vectors)
        masks = {node: tree.mask(node) for node in tree.cut(min(self.finest, cells))}
        inside = tree.between(math.ceil(self.least * cells), math.floor(self.most * cells))
        for node in sorted(inside, reverse=True)[: self.count]:
            masks.setdefault(node, tree.mask(node))
        order = sorted(masks, key=lambda n: (-int(tree.sizes[n]), n))[: max(self.count, min(self.finest, cells))]
        stacked = torch.from_numpy(np.stack([masks[n].reshape(height, width) for n in order])).float()
        return Proposals(stacked, torch.ones(len(order)), (picture.height, picture.width))


def cell_vectors(picture: Image.Image, side: int) -> NDArray[np.float64]:
    """Return (h, w, 4) vectors of the cells of an RGB picture: brightness, red-green, blue-yellow and contrast.
    ``side`` cells lie along the longer side; fewer where the picture has fewer pixels.
    """
    ratio = min(1.0, side / max(picture.size))
    width, height = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].double() / 255
    r, g, b = pixels[0].sqrt()  # roughly even steps of perceived brightness
    opponent = torch.stack([(r + g + b) / 3, (r - g) / 2, (2 * b - r - g) / 4])[None]
    mean = F.adaptive_avg_pool2d(opponent, (height, width))
    spread = (F.adaptive_avg_pool2d(opponent[:, :1] ** 2, (height, width)) - mean[:, :1] ** 2).clamp_min(0).sqrt()
    return torch.cat([mean, spread], dim=1)[0].permute(1, 2, 0).numpy()


def feature_vectors(picture: Image.Image, encoder: Space, grid: tuple[int, int], pixels: int) -> NDArray[np.float64]:
    """Return (h, w, 8) features of the cells of a picture, on the directions of most variance: maps of an encoder that
    sees it with a shorter side of ``pixels``, resized bilinearly to the grid (h, w).
    """
    dense, recipe = encoder.dense(), encoder.spec.pixels
    stride, ratio = dense.strides[-1], pixels / min(picture.size)
    width, height = (max(stride, round(side * ratio / stride) * stride) for side in picture.size)
    image = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    x = normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, recipe)
    with torch.no_grad():
        maps = dense.maps(x.to(next(encoder.module().parameters()).device))
    m = maps[max(0, len(maps) - 2)][0].cpu().double()
    flat = m.flatten(1).T - m.flatten(1).mean(1)
    directions = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -DIRECTIONS:]
    few = (flat @ directions).T.reshape(-1, *m.shape[1:])
    resized = F.interpolate(few[None], grid, mode="bilinear", align_corners=False)[0]
    return resized.permute(1, 2, 0).numpy()


def _scaled(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation: float = vectors.std()
    return vectors / max(1e-6, deviation)
