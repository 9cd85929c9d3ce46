"""Words for stuff stand in phrases of their usual context, and whole photos are read at several sizes, untrained.

    L_k = mean over sizes s of   scale z_s t_k + bias,    resized to the grid of the largest size
    M   = softmax(a z z^T) L                              row by row;  z: of the largest size

Sizes: n cells of the grid, K classes, D dimensions of the embeddings
z_s: (n_s, D) unit embeddings of the patches or cells of the photo at size s, each pooled alone, as in MaskCLIP
t_k: (D,) unit vector of a class: of its phrases if its word is known as stuff, such as "an object against the sky" for
     "sky", else of its prompts
a: sharpness of the affinity;  M: (n, K) logits of the cells
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedSegmenter,
    Kit,
    Regions,
    Run,
    Samples,
    Segmenter,
    UsageError,
)
from diptych.core.ranges import at_least, check
from diptych.data.pixels import normalise
from diptych.data.words.stuff import PHRASES, stuff_phrases
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import LONG, cells
from diptych.nn.dense.mask_classes import whole_cells
from diptych.nn.dense.patches import BLOCK, check_patches, embed_patches


def in_context(classes: ClassNames, phrases: Mapping[str, tuple[str, ...]] = PHRASES) -> list[list[str]]:
    """Return K lists of prompts: phrases of the words that are known as stuff, and the prompts of the others.

    Args:
        classes: K names, with words and templates.
        phrases: kind of stuff -> phrases with {} for the word.

    Example:
        >>> in_context(ClassNames(("rock", "dog"), ("a photo of a {}.",)))
        [['rock scenery', 'rock in the distance', 'a valley below the rock'], ['a photo of a dog.']]
    """

    def prompts(word: str) -> tuple[str, ...] | list[str]:
        return stuff_phrases(word, phrases) or ClassNames((word,), classes.templates).prompts()[0]

    words = classes.words or tuple((name,) for name in classes.names)
    return [[prompt for word in some for prompt in prompts(word)] for some in words]


def blended(z: Tensor, scores: Tensor, affinity: float) -> Tensor:
    """Return softmax(a z z^T) scores; ``BLOCK`` numbers of the n x n affinities exist at a time.

    Args:
        z: (n, D) unit embeddings.
        scores: (n, K).
        affinity: a, > 0.

    Example:
        >>> blended(torch.eye(2), torch.tensor([[1.0], [0.0]]), affinity=2.0).round(decimals=2)[:, 0]
        tensor([0.8800, 0.1200])
    """
    rows = torch.split(z, max(1, BLOCK // len(z)))
    return torch.cat([(affinity * some @ z.T).softmax(-1) @ scores for some in rows])


@dataclass(frozen=True)
class StuffContext(Segmenter):
    """Compare patches at several sizes with phrases that put stuff in its context.

    Use it on backbones whose words for sky, grass and water mean the things seen there, such as ``lite``.

    Args:
        sides: shorter sides of the photo, in pixels, each >= 1.
        affinity: a, sharpness of the mean over cells that are like each other, >= 0; 0: cells stay alone.
        contexts: whether words for stuff stand in phrases; False: in the prompts, as all others.

    Raises:
        UsageError: no side, a side below 1, or a negative affinity.

    Source: ours. Phrases of context: cf. Menon & Vondrick 2023; affinity of patches: cf. Lan et al. 2024 (ProxyCLIP).
    """

    sides: tuple[int, ...] = (224, 336, 448)
    affinity: float = 10.0
    contexts: bool = True

    def __post_init__(self) -> None:
        check(self, at_least(0), "affinity")
        if not self.sides or min(self.sides) < 1:
            raise UsageError(
                f"sides must be one or more numbers of pixels >= 1, got {self.sides!r}: give some, such as (224, 448)."
            )

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedStuffContext:
        """Embed the phrases and prompts.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        head = text_head(backbone, self.prompts(classes), run)
        return FittedStuffContext(classes, backbone, head, self.sides, self.affinity)

    def prompts(self, classes: ClassNames) -> list[list[str]]:
        """Return K lists of prompts."""
        return in_context(classes) if self.contexts else classes.prompts()


@dataclass(frozen=True)
class FittedStuffContext(FittedSegmenter):
    """A text head and the settings of the method.

    Args:
        classes: K names.
        backbone: embeds the patches.
        head: (K, D) unit class vectors.
        sides, affinity: see ``StuffContext``.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    sides: tuple[int, ...]
    affinity: float

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits on the grid of the largest size."""
        for i in range(len(images)):
            image = images[i]
            stride = self.backbone.dense().strides[-1]
            photos = [whole_cells(image, side, stride, LONG) for side in sorted(self.sides, reverse=True)]
            yield cells(self.maps(photos, run), (image.height, image.width))

    def maps(self, photos: list[Tensor], run: Run) -> Tensor:
        """Return (K, h, w) logits of one photo at several sizes, the largest first; each (3, H, W) in [0, 1]."""
        grids = [self.embedded(photo, run) for photo in photos]
        h, w = grids[0].shape[1:]
        parts = [logits(self.backbone, z.permute(1, 2, 0), self.head.to(z)).permute(2, 0, 1) for z in grids]
        mean = torch.stack([interpolate(p[None], (h, w), mode="bilinear")[0] for p in parts]).mean(0)
        if not self.affinity:
            return mean
        mixed = blended(grids[0].flatten(1).T, mean.flatten(1).T, self.affinity)
        return mixed.T.reshape(-1, h, w)

    def embedded(self, pixels: Tensor, run: Run) -> Tensor:
        """Return (D, h, w) unit float32 embeddings, on the CPU, of (3, H, W) pixels in [0, 1]."""
        with inference(run):
            z = embed_patches(self.backbone, normalise(pixels[None], self.backbone.spec.pixels).to(run.device))
        return normalize(z.float(), dim=1)[0].cpu()
