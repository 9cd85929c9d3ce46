"""Class probabilities of masks: embeddings pooled from a frozen encoder, and two classifiers as one.

    u_q    = g( mean over cells of F_32 where m_q > 0 )
    out_qk = softmax over k of s max over words w of class k of cos(u_q, t_w)
    in_qk  = the same of the trained embedding v_q
    p_qk   = (1 - void_q) softmax over k of (1 - a_k) ln in_qk + a_k ln out_qk

F_32: (C, h, w) last map of the encoder;  m_q: (h, w) mask logits on its cells;  g: its norm and projection
t_w: (D,) unit vector of a word;  s: the backbone's scale
a_k: weight of the frozen classifier, alpha for classes of the training and beta for others
void_q: probability of the trained classifier that mask q is of no class
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, Dense, Regions, Scores
from diptych.data.pixels import normalise
from diptych.features.heads import logits
from diptych.nn.dense.label_maps import bounded_size, resized
from diptych.nn.dense.mask_queries import best_word
from diptych.nn.dense.mask_training import ClassWords

if TYPE_CHECKING:
    from diptych.core import PixelRecipe

LONGEST = 1333
"""Longest side of an image, in pixels, as FC-CLIP and MAFT+ published it for a shorter side of 800."""
LEAST = 1e-30
"""Least probability before a logarithm, so that 0 x ln 0 is 0."""
TOGETHER = 16
"""Crops of masks that go through an encoder at once."""


def whole_cells(image: Image.Image, side: int, stride: int, longest: int = LONGEST) -> Tensor:
    """Return (3, h, w) pixels in [0, 1] of an image whose shorter side becomes about ``side``: whole cells of a map.

    Args:
        image: any size.
        side: in pixels.
        stride: of the map, in pixels.
        longest: the longer side is at most this, in pixels, up to whole cells; the shorter one is then less than
            ``side``.

    Source: ResizeShortestEdge of detectron2, with which FC-CLIP and MAFT+ evaluate.
    """
    x = resized(image, side, longest)
    size = tuple(max(stride, round(length / stride) * stride) for length in x.shape[1:])
    return F.interpolate(x[None], size, mode="bilinear", align_corners=False)[0] if size != x.shape[1:] else x


def shortest_edge(image: Image.Image, side: int, longest: int = LONGEST) -> Tensor:
    """Return (3, h, w) pixels in [0, 1] of an image whose shorter side is ``side``, or its longer one ``longest``.

    Source: ResizeShortestEdge of detectron2, with Pillow's bilinear resize, which is antialiased.
    """
    height, width = bounded_size(image.height, image.width, side, longest)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def padded(x: Tensor, stride: int) -> Tensor:
    """Return a (..., h, w) tensor with zeros at its right and at its bottom, up to whole cells of ``stride``.

    Example:
        >>> padded(torch.ones(3, 40, 64), 32).shape
        torch.Size([3, 64, 64])
    """
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % stride, 0, -height % stride))


class Sides(Protocol):
    """Settings of a segmenter, see FC-CLIP's."""

    @property
    def side(self) -> int:
        """Shorter side of an image, in pixels."""

    @property
    def longest(self) -> int:
        """Longer side at most, in pixels."""

    @property
    def pads(self) -> bool:
        """Whether pixels are padded up to whole cells."""


def as_pixels(image: Image.Image, sides: Sides, stride: int, recipe: PixelRecipe, device: str) -> tuple[Tensor, Tensor]:
    """Return (3, h, w) pixels in [0, 1] of an image, and the (1, 3, H, W) normalised ones, which may be padded."""
    if not sides.pads:
        x = whole_cells(image, sides.side, stride, sides.longest).to(device)
        return x, normalise(x, recipe)[None]
    x = shortest_edge(image, sides.side, sides.longest).to(device)
    return x, padded(normalise(x, recipe), stride)[None]


def unpadded(masks: Tensor, whole: tuple[int, int], seen: tuple[int, int], photo: tuple[int, int]) -> Tensor:
    """Return the (Q, H, W) logits of masks over a photo from those over its padded pixels.

    They are resized to the padded pixels, cut to the part that the photo fills, and resized to the photo, each
    bilinearly. Of a photo that is larger than what the network saw of it they keep that size, which bounds the memory.

    Args:
        masks: (Q, h', w') logits over the padded pixels.
        whole: height and width of the padded pixels.
        seen: height and width of the part that the photo fills.
        photo: height and width of the photo.

    Source: FC-CLIP's inference, as that of Mask2Former.
    """
    out = F.interpolate(masks[None], whole, mode="bilinear", align_corners=False)[..., : seen[0], : seen[1]]
    if photo != seen and photo[0] * photo[1] <= seen[0] * seen[1]:
        out = F.interpolate(out, photo, mode="bilinear", align_corners=False)
    return out[0]


def inside_cells(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, Q, h, w) in {0, 1}: cells of a map that masks hold.

    Args:
        masks: (B, Q, H, W) logits, resized bilinearly.
        size: h, w.
    """
    return (F.interpolate(masks, size, mode="bilinear", align_corners=False) > 0).to(masks)


def pooled_embeddings(dense: Dense, last: Tensor, inside: Tensor) -> Tensor:
    """Return u, (B, Q, D) unit embeddings of the cells inside masks, pooled first and projected then.

    Args:
        dense: pools and projects; CLIP's ResNets attend within the mask.
        last: (B, C, h, w) last map.
        inside: (B, Q, h, w) in {0, 1}.
    """
    return F.normalize(dense.project(dense.pool(last, inside)).float(), dim=-1)


@torch.no_grad()
def crop_embeddings(backbone: Backbone, x: Tensor, inside: Tensor) -> Tensor:
    """Return (Q, D) unit embeddings of masks by the second stage of others: each is cut out and encoded alone.

    The box of a mask is cut, what lies outside the mask becomes the recipe's mean colour, and the rest is squashed to
    the encoder's own size. A mask without a pixel gives the embedding of the mean colour.

    Args:
        backbone: encodes.
        x: (3, H, W) in [0, 1].
        inside: (Q, H, W) bool: pixels that masks hold.
    """
    recipe = backbone.spec.pixels
    crops = torch.stack([_cut_out(normalise(x, recipe), m, recipe) for m in inside])
    return F.normalize(torch.cat([backbone.image.encode(c) for c in torch.split(crops, TOGETHER)]).float(), dim=-1)


def _cut_out(x: Tensor, mask: Tensor, recipe: PixelRecipe) -> Tensor:
    rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
    if not len(rows):
        return x.new_zeros(3, recipe.size, recipe.size)
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    part = (x * mask)[:, box[0], box[1]]
    return F.interpolate(part[None], (recipe.size, recipe.size), mode="bilinear", align_corners=False)[0]


def word_probabilities(backbone: Backbone, u: Tensor, words: ClassWords) -> Tensor:
    """Return (..., K) probabilities of unit embeddings (..., D), by the backbone's scale and the best word a class."""
    return best_word(logits(backbone, u, words.vectors), words.owner.to(u.device)).softmax(-1)


def fused(inside: Tensor, outside: Tensor, weights: Tensor) -> Tensor:
    """Return (..., K) probabilities: the weighted geometric mean of two classifiers.

    Args:
        inside: (..., K) probabilities of the trained classifier.
        outside: (..., K) of the frozen one.
        weights: (..., K) a in [0, 1], the exponents of ``outside``.

    Example:
        >>> sure, other = torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
        >>> fused(sure, other, torch.tensor([0.5, 0.5]))
        tensor([0.5000, 0.5000])
    """
    return ((1 - weights) * inside.clamp_min(LEAST).log() + weights * outside.clamp_min(LEAST).log()).softmax(-1)


def mask_regions(p: Tensor, void: Tensor, masks: Tensor, size: tuple[int, int], things: Sequence[bool] = ()) -> Regions:
    """Return the masks of an image with the log-probabilities of their classes, which sum to 1 - void.

    Args:
        p: (Q, K) probabilities without void.
        void: (Q,) probabilities of no class.
        masks: (Q, h, w) logits.
        size: H, W of the image.
        things: K marks.
    """
    scores = (p * (1 - void)[:, None]).float().clamp_min(LEAST).log().cpu()
    soft = masks.float().sigmoid().cpu()
    return Regions(Scores(scores, "log_prob"), size, (soft.shape[1], soft.shape[2]), soft, tuple(things))
