"""Facts of a region of cells, its shape, inside and border, by which one thing is told from anything else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RING = 2
"""Cells round a region that it is compared with."""
SHAPE = 16
"""Numbers that say a region's shape."""


def region_facts(masks: Tensor, cells: Tensor, spaces: list[Tensor]) -> Tensor:
    """Return (Q, 2 C + SHAPE + 4 S) facts of regions.

    - C numbers: the mean of the cells inside; C more: that less the mean of the ring of two cells around.
    - SHAPE numbers: see ``shape_facts``.
    - 4 numbers of each space: the mean squared distance of cells to the mean inside, and of this mean to that of the
      ring, both divided by the picture's variance; the mean step between neighbours across the border, and inside,
      both divided by the picture's mean step.

    Args:
        masks: (Q, h, w) float in {0, 1}, none of them empty.
        cells: (h, w, C) features, standardised over many pictures.
        spaces: S of (h, w, d), in which distances count.
    """
    flat = masks.flatten(1)
    ring = grown(grown(masks, RING).mT, RING).mT.flatten(1) - flat
    size, around = flat.sum(1, keepdim=True), ring.sum(1, keepdim=True).clamp_min(1)
    z = [space.flatten(0, 1) for space in spaces]
    every = torch.cat([cells.flatten(0, 1), *z, *(v**2 for v in z)], 1)
    inside, outside = flat @ every / size, ring @ every / around
    c = cells.shape[2]
    facts = [inside[:, :c], (inside - outside)[:, :c], shape_facts(masks)]
    lengths = torch.stack([steps(space) for space in spaces], 1)
    typical = lengths.mean(0).clamp_min(1e-12)
    across, within = (m @ lengths / m.sum(1, keepdim=True).clamp_min(1) / typical for m in neighbours(masks))
    starts = torch.tensor([c, *(v.shape[1] for v in z)]).cumsum(0).tolist()
    for n, (v, start) in enumerate(zip(z, starts, strict=False)):
        means, squares = (
            slice(start, start + v.shape[1]),
            slice(start + starts[-1] - c, start + starts[-1] - c + v.shape[1]),
        )
        spread = (inside[:, squares] - inside[:, means] ** 2).sum(1).clamp_min(0)
        contrast = ((inside[:, means] - outside[:, means]) ** 2).sum(1)
        variance = v.var(0, unbiased=False).sum().clamp_min(1e-12)
        facts.append(torch.stack([spread / variance, contrast / variance, across[:, n], within[:, n]], 1))
    return torch.cat(facts, 1)


def shape_facts(masks: Tensor) -> Tensor:
    """Return (Q, 16) of (Q, h, w) masks.

    The root and the logarithm of the share of the picture; width, height, centre and its distance from the middle, as
    shares; how much of its box it fills; its border by that of a square of its size; the share of each side of the
    picture that it touches; the shares of the border that are the picture's; the least and the largest share of a side.
    """
    h, w = masks.shape[1:]
    area = masks.flatten(1).sum(1)
    rows, columns = masks.amax(2), masks.amax(1)
    y, x = torch.arange(h).to(masks), torch.arange(w).to(masks)
    top, bottom = (torch.where(rows > 0, y, far).aminmax(dim=1)[i] for i, far in ((0, float(h)), (1, -1.0)))
    left, right = (torch.where(columns > 0, x, far).aminmax(dim=1)[i] for i, far in ((0, float(w)), (1, -1.0)))
    height, width = (bottom - top + 1) / h, (right - left + 1) / w
    cy, cx = (masks.sum(2) @ (y + 0.5)) / area / h, (masks.sum(1) @ (x + 0.5)) / area / w
    edges = [masks[:, :, 0].mean(1), masks[:, :, -1].mean(1), masks[:, 0].mean(1), masks[:, -1].mean(1)]
    outer = (edges[0] + edges[1]) * h + (edges[2] + edges[3]) * w
    border = neighbours(masks)[0].sum(1)
    share = area / (h * w)
    facts = [
        share.sqrt(), share.log(), width, height, cx, cy, ((cx - 0.5) ** 2 + (cy - 0.5) ** 2).sqrt(),
        share / (width * height), (border + outer) / (4 * area.sqrt()), *edges, outer / (border + outer).clamp_min(1),
        torch.stack(edges).amin(0), torch.stack(edges).amax(0),
    ]  # fmt: skip
    return torch.stack(facts, 1)


def grown(masks: Tensor, cells: int) -> Tensor:
    """Return (Q, h, w) masks that reach so many cells further left and right; a pooling would be far slower."""
    wide, width = F.pad(masks, (cells, cells)), masks.shape[2]
    out = masks
    for start in (*range(cells), *range(cells + 1, 2 * cells + 1)):
        out = torch.maximum(out, wide[:, :, start : start + width])
    return out


def neighbours(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return two (Q, E) marks of the E pairs of neighbouring cells: across the border, and both inside."""
    pairs = ((masks[:, :, 1:], masks[:, :, :-1]), (masks[:, 1:], masks[:, :-1]))
    across = torch.cat([(a - b).abs().flatten(1) for a, b in pairs], 1)
    return across, torch.cat([(a * b).flatten(1) for a, b in pairs], 1)


def steps(space: Tensor) -> Tensor:
    """Return the (E,) distances of neighbouring cells of (h, w, d), in the order of ``neighbours``."""
    pairs = ((space[:, 1:], space[:, :-1]), (space[1:], space[:-1]))
    return torch.cat([(a - b).norm(dim=-1).flatten() for a, b in pairs])
