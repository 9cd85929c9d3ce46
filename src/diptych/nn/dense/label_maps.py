"""From an image to a label map: resize, windows, upsampling and background, as the open-vocabulary papers evaluate.

1. Resize the shorter side, and keep the ratio.
2. Cut windows; the last one of a row or column moves back to the border.
3. Add the K score maps of all windows, and divide by the number of windows that hold the pixel.
4. Upsample to the image, and take the best class.

The scores are what the model returns, logits or probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Regions, ScoreKind, Scores, UsageError
from diptych.core.ranges import at_least, check
from diptych.data.pixels import normalise, prepare

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import PixelRecipe

LONG = 2048
"""Longest side after a resize, in pixels."""
TOGETHER = 8
"""Windows that go through a model at once."""
CELLS = 1 << 24
"""Upsampled scores held at once (64 MiB of float32)."""


@dataclass(frozen=True)
class Windows:
    """How an image is cut.

    Args:
        side: the shorter side after the resize, in pixels, >= 1.
        window: side of a window, in pixels, >= 1; a smaller image is one window.
        stride: pixels between windows, >= 1.

    Raises:
        UsageError: a number is below 1.

    Source: ``EncoderDecoder.slide_inference`` of mmsegmentation, by its documented behaviour.

    Example:
        >>> Windows(side=448, window=448, stride=224).spans(600)  # the second window moves back to the border
        [(0, 448), (152, 600)]
    """

    side: int = 448
    window: int = 448
    stride: int = 224

    def __post_init__(self) -> None:
        check(self, at_least(1), "side", "window", "stride")

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Return the (start, end) of the windows along a side; the last one moves back to the border.

        There are n = max(L - c + s - 1, 0) // s + 1 of them: L = ``length``, c = ``window``, s = ``stride``.
        """
        count = max(length - self.window + self.stride - 1, 0) // self.stride + 1
        ends = [min(i * self.stride + self.window, length) for i in range(count)]
        return [(max(end - self.window, 0), end) for end in ends]


WINDOWS = Windows()
"""CLIP-DINOiser's windows, for all of its data sets."""


def bounded_size(height: int, width: int, short: int, long: int = LONG) -> tuple[int, int]:
    """Return the (height, width) of the largest resize within (long, short) that keeps the ratio.

    A side becomes floor(side r + 1/2), at least 1, where r is the factor of the resize.
    """
    ratio = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * ratio + 0.5)), max(1, int(width * ratio + 0.5))


def resized(image: Image.Image, short: int, long: int = LONG) -> Tensor:
    """Return (3, h, w) pixels in [0, 1] of an image whose shorter side becomes ``short``, or its longer side ``long``
    where the shorter one would make it longer than that.

    Bilinear without antialias, rounded to bytes as OpenCV does; a byte may differ by 1.
    """
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    size = bounded_size(image.height, image.width, short, long)
    if size != tuple(pixels.shape[1:]):
        # Bounded memory: a large picture is read as bytes, and only the resized one as floats.
        pixels = F.interpolate(pixels[None], size, mode="bilinear", align_corners=False)[0]
    return pixels.float() / 255


def part_of_strip(photo: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Return the photo, or a random part of it if it is so long that ``resized`` would leave less than ``side``."""
    short = min(photo.size)
    most = max(short, short * LONG // side)
    left, top = (int(rng.integers(length - most + 1)) if length > most else 0 for length in photo.size)
    right, bottom = (start + min(length, most) for start, length in zip((left, top), photo.size, strict=True))
    return photo.crop((left, top, right, bottom)) if (right - left, bottom - top) != photo.size else photo


def slide(
    image: Tensor, windows: Windows, recipe: PixelRecipe, stride: int, scores: Callable[[Tensor], Tensor]
) -> Tensor:
    """Average the score maps of all windows.

    Args:
        image: (3, H, W) in [0, 1].
        windows: how it is cut.
        recipe: mean and standard deviation of the tower.
        stride: of the tower, in pixels. Each window is padded with black, right and below, to multiples of it.
        scores: (B, 3, H', W') normalised pixels -> (B, K, h, w). All windows of an image are of one size, so that up to
            ``TOGETHER`` go through a model at once.

    Returns:
        (K, H, W): each window's maps, upsampled to its pixels, summed, and divided by the number of windows at the
        pixel.
    """
    height, width = image.shape[1:]
    total, visits = image.new_zeros(0), image.new_zeros(height, width)
    spans = list(product(windows.spans(height), windows.spans(width)))
    for start in range(0, len(spans), TOGETHER):
        some = spans[start : start + TOGETHER]
        parts = torch.stack([image[:, top:bottom, left:right] for (top, bottom), (left, right) in some])
        h, w = parts.shape[2:]
        padded = F.pad(parts, (0, -w % stride, 0, -h % stride))
        for maps, ((top, bottom), (left, right)) in zip(scores(normalise(padded, recipe)), some, strict=True):
            whole = F.interpolate(maps[None].float(), padded.shape[2:], mode="bilinear")[0, :, :h, :w]
            if not len(total):
                total = whole.new_zeros(len(whole), height, width)
            total[:, top:bottom, left:right] += whole
            visits[top:bottom, left:right] += 1
    return total / visits.to(total)


def dense_map(regions: Regions) -> Tensor:
    """Return the (K, h, w) class map of regions.

    - Of a dense map: its scores; log-probabilities become probabilities.
    - Of masks: sum over q of p_q(c) m_q(u), with p_q(c) the probability of class c for mask q, and m_q(u) how much cell
    u
      belongs to it.

    Raises:
        UsageError: masks with scores that are not log-probabilities.
    """
    scores = regions.scores
    if regions.masks is None:
        values = scores.ranked().exp() if scores.kind == "log_prob" else scores.ranked()
        return torch.unflatten(values.T, 1, regions.grid)
    if scores.kind != "log_prob":
        raise UsageError(
            f"Masks are weighted by probabilities, and these scores are of kind {scores.kind!r}: give log_prob."
        )
    return torch.einsum("qk,qhw->khw", scores.ranked().exp(), regions.masks)


def label_map(regions: Regions) -> Tensor:
    """Return the (H, W) int64 class positions at the image's own size, each query its own class; see ``labelled``."""
    return labelled(regions, scored=False)[0]


def labelled(
    regions: Regions,
    groups: Sequence[int] | None = None,
    *,
    background: int = 0,
    threshold: float | None = None,
    scored: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the (H, W) int64 class positions at the image's own size, and the (H, W) float32 score of each.

    The score is the best probability, or the best cosine where the system gives cosines. Where masks overlap, so that
    they cover a pixel more than once, it is the mean over them, not the sum. Maps are upsampled bilinearly,
    a strip of rows at a time. With ``groups``, several of the K queries may belong to one class: its probability is
    that of its best query, AFTER the softmax. Pixels whose best probability is below ``threshold`` are background.

    Args:
        regions: of one image.
        groups: (K,) class position of each query. None: each query is its own class.
        background: class position that uncertain pixels get.
        threshold: probability in [0, 1]; it does not apply to cosines. None: no pixel is uncertain.
        scored: False where the scores are not read: without a threshold, logits then stay logits, which is faster.

    Raises:
        UsageError: a threshold for cosines.

    Source: the open-vocabulary papers' evaluation (upsample, then take the best class); Trident's background rule.
    """
    kind = regions.scores.kind
    if threshold is not None and kind == "cosine":
        raise UsageError("A threshold is a probability, and this system gives cosines: leave the threshold out.")
    maps, (height, width) = dense_map(regions), regions.size
    owner = torch.tensor(range(len(maps)) if groups is None else groups, device=maps.device)
    cover = None if regions.masks is None else regions.masks.sum(0, keepdim=True)
    rows = max(1, CELLS // (len(maps) * width))
    strips, sure = [], []
    for start in range(0, height, rows):
        values = upsampled(maps, height, width, start, min(start + rows, height))
        best, query = values.max(0)
        if kind == "logit" and (scored or threshold is not None):
            best = (best - values.logsumexp(0)).exp()
        elif cover is not None and (scored or threshold is not None):
            best = best / upsampled(cover, height, width, start, min(start + rows, height))[0].clamp_min(1)
        labels = owner[query]
        sure.append(best.float())
        strips.append(labels if threshold is None else labels.masked_fill(best < threshold, background))
    return torch.cat(strips), torch.cat(sure)


def upsampled(maps: Tensor, height: int, width: int, start: int, stop: int) -> Tensor:
    """Return rows ``start`` to ``stop - 1`` of (K, h, w) maps upsampled to (K, height, width).

    Bilinear, with half-pixel centres.
    """
    h = maps.shape[1]
    y = ((torch.arange(start, stop, device=maps.device) + 0.5) * (h / height) - 0.5).clamp_min(0).to(maps.dtype)
    low = y.floor().long().clamp_max(h - 1)
    strip = torch.lerp(maps[:, low], maps[:, (low + 1).clamp_max(h - 1)], (y - low)[:, None])
    return F.interpolate(strip[None], (stop - start, width), mode="bilinear", align_corners=False)[0]


def cells(maps: Tensor, size: tuple[int, int], kind: ScoreKind = "logit") -> Regions:
    """Return (K, h, w) score maps as the regions of an image, one region a cell.

    Args:
        maps: (K, h, w).
        size: (H, W) of the image.
        kind: of the scores.
    """
    return Regions(Scores(maps.flatten(1).T.contiguous(), kind), size, (maps.shape[1], maps.shape[2]))


def squashed(image: Image.Image, recipe: PixelRecipe, side: int | None = None) -> Tensor:
    """Return (1, 3, S, S) normalised pixels of the whole image, without its ratio, so that no border is cut away.

    Args:
        image: any size.
        recipe: mean, standard deviation and filter of the tower.
        side: S in pixels, a multiple of the tower's stride. None: the recipe's.

    Source: the resize to a square of the literature on anomaly detection.
    """
    whole = replace(recipe, size=side or recipe.size, resize="squash", crop=1.0)
    return torch.from_numpy(prepare(image, whole))[None]


def shared_out(maps: Tensor, floor: float) -> Tensor:
    """Return the masks of J objects, (J, H, W), that sum to at most 1, and are exactly 0 below ``floor``.

    Args:
        maps: (J, H, W) in [0, 1].
        floor: in [0, 1).
    """
    strong = torch.where(maps >= floor, maps, torch.zeros_like(maps))
    return strong / strong.sum(0).clamp_min(1.0)
