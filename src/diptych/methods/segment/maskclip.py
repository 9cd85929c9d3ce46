"""MaskCLIP lets each patch attend to itself only in CLIP's last block, and compares it with the class texts, untrained.

    v      = W_o (W_v LN1(x) + b_v) + b_o,   y = x + v,   z = y + MLP(LN2(y))
    logits = scale normalise(W_proj LN_post(z)) T^T + bias,   averaged over windows

Sizes: n patches, C dimensions of the tokens, K classes, D dimensions of the embeddings
x: (n, C) tokens of the patches before the last block of the image tower
W_v, b_v, W_o, b_o: value and output projections of its attention
z: (n, C) tokens after the block;  LN_post, W_proj: last norm and projection of the tower
T: (K, D) unit class embeddings of the text tower
scale, bias: of the backbone's logits; bias = 0 for softmax backbones
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diptych.core import Backbone, ClassNames, Evidence, FittedSegmenter, Kit, Regions, Run, Samples, Segmenter
from diptych.core.ranges import between, check, one_of
from diptych.features.heads import text_head
from diptych.nn.dense.label_maps import WINDOWS, Windows, cells
from diptych.nn.dense.patch_logits import patch_logits
from diptych.nn.dense.patches import Block, check_patches, embed_patches


def denoised(maps: Tensor, threshold: float) -> Tensor:
    """Return (K, h, w) logits without the classes whose probability is below ``threshold`` on the whole image.

    The most probable class always stays. Logits of the others become lower than all others.

    Args:
        maps: (K, h, w) logits.
        threshold: probability in [0, 1).
    """
    most = maps.softmax(0).flatten(1).amax(1)
    absent = (most < threshold) & (most < most.max())
    return maps.masked_fill(absent[:, None, None], float(maps.min()) - 100.0)


@dataclass(frozen=True)
class MaskCLIP(Segmenter):
    """Compare the value of each patch in the last block with the class texts.

    Args:
        block: "value" (the paper), "value-only" (without residual and MLP), or "tokens" (the block as it is, the
            baseline).
        windows: shorter side of the resize, window and stride; the default is CLIP-DINOiser's.
        denoise: drop each class whose probability is below it on the whole image, in [0, 1); 0 drops none, 0.5 is the
            authors'.

    Raises:
        UsageError: block is unknown, or denoise is not in [0, 1).

    Source: Zhou et al. 2022, sections 3.2 (MaskCLIP) and 3.3 (prompt denoising).

    Example:
        >>> import torch
        >>> from diptych.methods.segment.maskclip import denoised
        >>> maps = torch.tensor([[[3.0, 0.0]], [[0.0, 3.0]], [[0.0, 0.0]]])  # three classes, two cells
        >>> denoised(maps, threshold=0.5).softmax(0)[:, 0].round(decimals=2)  # the third class is dropped
        tensor([[0.9500, 0.0500],
                [0.0500, 0.9500],
                [0.0000, 0.0000]])
    """

    block: Block = "value"
    windows: Windows = WINDOWS
    denoise: float = 0.0

    def __post_init__(self) -> None:
        check(self, one_of("value", "value-only", "tokens"), "block")
        check(self, between(0, 1, "[)"), "denoise")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedMaskCLIP:
        """Embed the class texts.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone, self.block)
        head = text_head(backbone, classes.prompts(), run)
        return FittedMaskCLIP(classes, backbone, head, self.block, self.windows, self.denoise)


@dataclass(frozen=True)
class FittedMaskCLIP(FittedSegmenter):
    """A text head and the settings of the method.

    Args:
        classes: K names.
        backbone: embeds the patches.
        head: (K, D) unit class embeddings.
        block, windows, denoise: see ``MaskCLIP``.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    block: Block
    windows: Windows
    denoise: float

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits at the pixels of the resized image."""

        def embeddings(x: Tensor) -> Tensor:
            return embed_patches(self.backbone, x, self.block)

        for maps, size in patch_logits(images, self.backbone, self.head, self.windows, embeddings, run):
            yield cells(denoised(maps, self.denoise), size)
