"""Crops of a picture from random viewpoints, with gradient, and soft borders."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, pad


def blurred(masks: Tensor, sigma: float) -> Tensor:
    """Return (J, H, W) masks under a Gaussian of ``sigma`` pixels; the border counts as going on. 0 changes nothing."""
    if sigma <= 0:
        return masks
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = (weights / weights.sum()).to(masks)
    out = pad(masks[:, None], (reach,) * 4, mode="replicate")
    out = conv2d(conv2d(out, line[None, None, None]), line[None, None, :, None])
    return out[:, 0]


def crops_inside(shares: Tensor, side: int) -> Tensor:
    """Return the (n, 3) left, top and side of the square crops that lie in a mask by half.

    Where none does, they are those that lie in it most.

    Args:
        shares: (h, w) mean of the mask under the crop at each place.
        side: of the crops, in pixels.
    """
    top, left = torch.nonzero(shares >= min(0.5, float(shares.max())), as_tuple=True)
    return torch.stack([left, top, torch.full_like(left, side)], dim=1)


def viewed(pictures: Tensor, places: Tensor, count: int, distortion: float, g: torch.Generator) -> Tensor:
    """Return crops of several pictures, each crop from one random viewpoint that is the same for all pictures.

    The corners of a crop move inwards by up to half its side times ``distortion``, drawn evenly and apart, as in
    torchvision's RandomPerspective; what they enclose is stretched to the crop's own size, where torchvision shrinks
    the crop into them and fills the rest.

    Args:
        pictures: (B, 3, H, W).
        places: (n, 3) crops to draw from, see ``crops_inside``.
        count: crops to draw.
        distortion: in [0, 1); 0 gives plain crops.
        g: draws on the CPU.

    Returns:
        (B, count, 3, side, side).
    """
    height, width = pictures.shape[2:]
    chosen = places[torch.randint(len(places), (count,), generator=g)].to(pictures.device)
    moves = (distortion / 2 * torch.rand(count, 4, 2, generator=g)).to(pictures)
    inward = pictures.new_tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    corners = pictures.new_tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) + inward * moves
    side = int(places[0, 2])
    steps = (torch.arange(side, device=pictures.device, dtype=pictures.dtype) + 0.5) / side
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    flat = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(-1, 3)
    mapped = flat @ homography(corners).transpose(1, 2)
    inside = mapped[..., :2] / mapped[..., 2:]
    xy = chosen[:, None, :2].to(inside) + inside * chosen[:, None, 2:].to(inside)
    grid = (2 * xy / xy.new_tensor([width, height]) - 1).reshape(count, side, side, 2)
    each = (p[None].expand(count, -1, -1, -1) for p in pictures)
    return torch.stack([grid_sample(p, grid, padding_mode="border", align_corners=False) for p in each])


def homography(corners: Tensor) -> Tensor:
    """Return the (n, 3, 3) maps that take the corners of the unit square to other corners.

    Args:
        corners: (n, 4, 2), where (0, 0), (1, 0), (1, 1) and (0, 1) go.
    """
    x, y = corners.double().unbind(-1)
    dx1, dx2, sx = x[:, 1] - x[:, 2], x[:, 3] - x[:, 2], x[:, 0] - x[:, 1] + x[:, 2] - x[:, 3]
    dy1, dy2, sy = y[:, 1] - y[:, 2], y[:, 3] - y[:, 2], y[:, 0] - y[:, 1] + y[:, 2] - y[:, 3]
    area = dx1 * dy2 - dx2 * dy1
    p, q = (sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area
    rows = (
        torch.stack([x[:, 1] - x[:, 0] + p * x[:, 1], x[:, 3] - x[:, 0] + q * x[:, 3], x[:, 0]], dim=1),
        torch.stack([y[:, 1] - y[:, 0] + p * y[:, 1], y[:, 3] - y[:, 0] + q * y[:, 3], y[:, 0]], dim=1),
        torch.stack([p, q, torch.ones_like(p)], dim=1),
    )
    return torch.stack(rows, dim=1).to(corners)
