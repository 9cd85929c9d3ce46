"""A generator's style space as a backbone sees it: vectors of its pictures, and the effect of each style channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, normalize

from diptych.core import Encoder, Inverter, Run, Samples, StyleGenerator, Styles, UsageError

PIXELS = 2**21
"""Pixels of pictures that are synthesised at once at most: two pictures of 1,024, whose layers take about 1 GB."""


def drawn(generator: StyleGenerator, styles: Styles, run: Run, *, clipped: bool = True) -> Tensor:
    """Return the (B, 3, H, W) pictures of B styles, on the CPU; ``run.batch`` are synthesised at once, or fewer large
    ones. ``clipped=False`` leaves values outside [0, 1] as they are, where the generator has such.
    """
    if not len(styles):
        return torch.zeros(0, 3, generator.size, generator.size)
    draw = generator.synthesise if clipped else getattr(generator, "unclipped", generator.synthesise)
    batch = max(1, min(run.batch, PIXELS // generator.size**2))
    parts = [styles.take(slice(i, i + batch)) for i in range(0, len(styles), batch)]
    return torch.cat([draw(Styles(p.s.to(run.device), p.rest.to(run.device))).cpu() for p in parts])


def seen(encoder: Encoder[Any], pictures: Tensor, run: Run) -> Tensor:
    """Return the (B, D) unit vectors of (B, 3, H, W) pictures in [0, 1], on the CPU. Nothing is stored.

    Pictures of another size than the encoder's are resized by antialiased bicubic interpolation, clipped to [0, 1].
    """
    out = [] if len(pictures) else [torch.zeros(0, encoder.dim)]
    for i in range(0, len(pictures), run.batch):
        some = pictures[i : i + run.batch]
        if encoder.size is not None and tuple(some.shape[-2:]) != (encoder.size, encoder.size):
            some = interpolate(some, size=(encoder.size, encoder.size), mode="bicubic", antialias=True).clamp(0, 1)
        x = encoder.inputs(list(some))
        x = x.to(run.device) if isinstance(x, Tensor) else {name: t.to(run.device) for name, t in x.items()}
        out.append(normalize(encoder.encode(x).float(), dim=-1).cpu())
    return torch.cat(out)


def pooled(x: Tensor, size: int) -> Tensor:
    """Return (B, 3, size, size) of (B, 3, S, S): each pixel is the mean of the square that it covers.

    It is a nearest enlargement until the side is a multiple of ``size``, followed by a mean over squares, in two
    products with one matrix.

    Example:
        >>> row = pooled(torch.arange(3.0).expand(1, 3, 3, 3), 2)[0, 0, 0]  # of 0 0 1 | 1 2 2
        >>> [round(float(v), 3) for v in row]
        [0.333, 1.667]
    """
    times = size // math.gcd(x.shape[-1], size)
    enlarged = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).repeat_interleave(times, 0)
    means: Tensor = torch.unflatten(enlarged, 0, (size, -1)).mean(1)
    return torch.matmul(torch.matmul(means, x), means.T)


def seen_pooled(encoder: Encoder[Any], pictures: Tensor, run: Run) -> Tensor:
    """Return the (B, D) unit vectors of (B, 3, S, S) pictures in [0, 1], which enter the encoder pooled and in [-1, 1],
    without its pixel recipe, on the CPU. Nothing is clipped.

    Raises:
        UsageError: the encoder has no size.

    Source: utilities of DeltaEdit's and of CLIPInverter's authors, for CLIP at 224 pixels.
    """
    if encoder.size is None:
        raise UsageError(f"Pooled pixels enter an image encoder of one size, and {encoder.modality} has none.")
    parts = [pooled(part.to(run.device), encoder.size) * 2 - 1 for part in torch.split(pictures, max(1, run.batch))]
    vectors = [normalize(encoder.encode(x).float(), dim=-1).cpu() for x in parts]
    return torch.cat(vectors) if vectors else torch.zeros(0, encoder.dim)


def direction_loss(after: Tensor, before: Tensor, d: Tensor) -> Tensor:
    """Return (B,) 1 - cos(after - before, d) of (B, D) unit image vectors and (B, D) or (1, D) directions of texts.

    Where one of both is 0, the loss is 1.

    Source: Gal et al. 2022 (StyleGAN-NADA), equation 2.
    """
    return 1 - cosine_similarity(after - before, d, dim=1, eps=1e-5)


def photo_side(inverter: Inverter, generator: StyleGenerator) -> int:
    """Return the side of the photos that an inverter reads: its ``size`` where it has one, or the generator's."""
    return int(getattr(inverter, "size", generator.size))


def pictures_of(images: Samples[Any], size: int, by: Image.Resampling = Image.Resampling.BICUBIC) -> Tensor:
    """Return (N, 3, size, size) float32 in [0, 1] of N images: their middle square, resized by a filter of PIL.

    Raises:
        UnreadableItem: an image cannot be read.
    """
    return torch.stack([square_of(images[i], size, by) for i in range(len(images))])


def square_of(image: Image.Image, size: int, by: Image.Resampling = Image.Resampling.BICUBIC) -> Tensor:
    """Return (3, size, size) float32 in [0, 1]: the middle square of an image, resized by a filter of PIL."""
    fitted = ImageOps.fit(image.convert("RGB"), (size, size), by)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 255


def relevance(
    generator: StyleGenerator,
    encoder: Encoder[Any],
    styles: Styles,
    step: Tensor,
    run: Run,
    vectors: Callable[[Encoder[Any], Tensor, Run], Tensor] = seen,
) -> Tensor:
    """Return the (S, D) relevance matrix, whose row c is the direction in which style channel c moves image vectors.

        row_c = mean over P pictures of normalise(v(s + step_c e_c) - v(s - step_c e_c))

    s is a style, e_c the unit vector of channel c, and v the unit image vector of a style's picture. A channel that
    changes no vector has a row of zeros.

    Args:
        generator: synthesises the pictures.
        encoder: embeds them.
        styles: of P pictures.
        step: (S,) how far each channel moves, to either side.
        run: batch and device.
        vectors: gives the unit vectors of pictures, such as ``seen``.

    Source: DeltaEdit's relevance matrix, after StyleCLIP's global directions (Patashnik et al. 2021, section 6).
    """
    rows = []
    with run.track("style channels", len(step)) as bar:
        for c in range(len(step)):
            moved = torch.zeros_like(step)
            moved[c] = step[c]
            ends = [
                vectors(encoder, drawn(generator, replace(styles, s=styles.s + sign * moved), run), run)
                for sign in (1, -1)
            ]
            rows.append(normalize(ends[0] - ends[1], dim=1, eps=1e-5).mean(0))
            bar.advance()
    return torch.stack(rows)


def patch_loss(r: Tensor, least: float) -> Tensor:
    """Return the mean over ALL crops of those (n,) losses that reach ``least``: a crop in style pulls no more."""
    return torch.where(r >= least, r, torch.zeros_like(r)).mean()


def total_variation(y: Tensor) -> Tensor:
    """Return the sum of the lengths (2-norms) of the differences of (B, 3, H, W) neighbours, in four directions."""
    steps = (
        y[..., :, 1:] - y[..., :, :-1],
        y[..., 1:, :] - y[..., :-1, :],
        y[..., 1:, 1:] - y[..., :-1, :-1],
        y[..., :-1, 1:] - y[..., 1:, :-1],
    )
    return torch.stack([(s.square().sum() + 1e-12).sqrt() for s in steps]).sum()
