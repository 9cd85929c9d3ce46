"""Which patches the CLS token of an image tower attends to, and which of them stay where others are dropped."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.kernels import recording_first


def cls_attention(tower: ImageTower, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, h, w) attention of CLS to the patches, mean over all blocks and heads, and (B, C) pooled vectors.

    Args:
        tower: an image tower with a CLS token.
        pixels: (B, 3, H, W) normalised.

    Source: Yang et al. 2022, section 3.2.
    """
    record: dict[int, Tensor] = {}
    s = tower.blocks(tower.start(pixels), kernel=recording_first(record))
    assert s.grid is not None  # an image has a grid
    mean = torch.stack(list(record.values())).mean(0)[:, s.prefix :]
    return mean.reshape(-1, *s.grid), tower.pooled(s)


def carried(attention: Tensor, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the attention on the (h, w) grid of a crop, (B, h, w): read by bilinear interpolation at its cells.

    Args:
        attention: (B, h', w') of the slow copy's crop.
        boxes: (B, 4) left, top, right and bottom of the crop, as shares of the slow copy's.
        grid: (h, w).

    Example:
        >>> whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> carried(torch.eye(2)[None], whole, (2, 2)).tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """
    height, width = attention.shape[-2:]
    corners = boxes * boxes.new_tensor([width, height, width, height])
    numbered = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(corners), corners], 1)
    out: Tensor = roi_align(attention[:, None].float(), numbered, grid, sampling_ratio=1, aligned=True)
    return out[:, 0]


def kept_patches(scores: Tensor, drop: float, block: int) -> Tensor:
    """Return the (B, t) positions of the patches that stay, in ascending order.

    Args:
        scores: (B, h, w) of the patches.
        drop: r, in [0, 1): all but floor(n (1 - r)) + 1 of n blocks go.
        block: side of a block in patches, which divides h and w.

    Source: Yang et al. 2022, section 3.2; the number of blocks as in the released code.

    Example:
        >>> kept_patches(torch.tensor([[[0.1, 0.4], [0.3, 0.2]]]), drop=0.5, block=1).tolist()
        [[1, 2, 3]]
    """
    means = F.avg_pool2d(scores[:, None], block)[:, 0]
    n = means[0].numel()
    count = min(n, math.floor(n * (1 - drop) + 1e-9) + 1)
    best = means.flatten(1).topk(count).indices
    chosen = torch.zeros_like(means.flatten(1)).scatter(1, best, 1.0).reshape(means.shape)
    patches = chosen.repeat_interleave(block, 1).repeat_interleave(block, 2).flatten(1)
    return patches.nonzero()[:, 1].reshape(len(scores), -1)
