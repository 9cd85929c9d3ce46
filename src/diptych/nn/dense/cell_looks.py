"""Colour, contrast and height of the cells of a photo, and how likely a look is beside any cell of a photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

FINER = 4
"""Pixels along a side of a cell, over which contrast is taken."""


def cielab(rgb: Tensor) -> Tensor:
    """Return L*, a* and b* of sRGB colours under D65.

    Args:
        rgb: (3, ...) in [0, 1].

    Returns:
        (3, ...): L* in [0, 100], a* and b* about -110 to 110.

    Source: IEC 61966-2-1 (sRGB) and CIE 15 (CIELAB).

    Example:
        >>> cielab(torch.tensor([[1.0], [1.0], [1.0]]))[0].round(decimals=2)
        tensor([100.])
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    ).to(rgb)
    ratio = torch.einsum("ij,j...->i...", to_xyz / to_xyz.sum(1, keepdim=True), linear)
    t = torch.where(ratio > (6 / 29) ** 3, ratio.clamp(min=1e-4) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return torch.stack([116 * t[1] - 16, 500 * (t[0] - t[1]), 200 * (t[1] - t[2])])


def cell_looks(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (5, h, w): mean L*, a* and b*, log(1 + standard deviation of L*), and the height from 0 (top) to 1.

    Args:
        pixels: (3, H, W) RGB in [0, 1].
        size: (h, w) cells that cover the photo.

    Example:
        >>> cell_looks(torch.ones(3, 8, 8), (2, 1))[:, :, 0].T.round(decimals=1).tolist()[1]  # white, flat, below
        [100.0, 0.0, 0.0, 0.0, 1.0]
    """
    h, w = size
    finer = interpolate(pixels[None], (FINER * h, FINER * w), mode="bilinear", antialias=True)[0].clamp(0, 1)
    lab = cielab(finer)
    mean = avg_pool2d(lab[None], FINER)[0]
    spread = (avg_pool2d(lab[:1][None] ** 2, FINER)[0] - mean[:1] ** 2).clamp(min=0).sqrt()
    height = torch.linspace(0, 1, h).to(pixels)[None, :, None].expand(1, h, w)
    return torch.cat([mean, spread.log1p(), height])


def log_odds(features: Tensor, looks: Tensor, photo: Tensor) -> Tensor:
    """Return (h, w): log density of the sum of some looks beside that of any cell of a photo.

    Args:
        features: (F, h, w).
        looks: (J, F, 2) means and standard deviations of independent normal densities, J >= 1.
        photo: (F, 2), the same of any cell.

    Example:
        >>> same = torch.tensor([[3.0, 2.0]])
        >>> log_odds(torch.zeros(1, 1, 1), same[None], same)
        tensor([[0.]])
    """

    def log_density(some: Tensor) -> Tensor:
        mean, deviation = some.to(features).unbind(-1)
        scaled = (features - mean[..., None, None]) / deviation[..., None, None]
        return (-0.5 * scaled**2 - deviation[..., None, None].log()).sum(-3)

    return log_density(looks).logsumexp(0) - log_density(photo)
