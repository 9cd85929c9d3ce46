"""Do the cells of an image encoder's map find the same place again in a changed copy of the picture?

    recall = share of cells (i, j) of a picture with  argmax_{(u, v)} cos(f(x)_ij, f(x')_uv)  within ``reach`` of the
             place where the change took (i, j)

x': the picture mirrored, so that cell (i, j) of a map of w columns moves to (i, w - 1 - j)
f: the encoder's last map

Matching a map to itself is always right, and features that only say what is on the picture, and not where, are at
chance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def mirrored_recall(maps: Tensor, mirrored: Tensor, reach: int = 1) -> Tensor:
    """Return the recall of each of B pictures, (B,), in [0, 1].

    Args:
        maps: (B, C, h, w) of the pictures.
        mirrored: (B, C, h, w) of their mirrored copies.
        reach: cells by which a match may be off, in rows and in columns; 0 is exact.
    """
    b, _, h, w = maps.shape
    first, second = (normalize(m.flatten(2).transpose(1, 2).double(), dim=-1) for m in (maps, mirrored.flip(-1)))
    best = (first @ second.transpose(1, 2)).argmax(dim=-1)  # (B, h w), places in the picture as it was
    place = torch.arange(h * w, device=maps.device)
    off = torch.stack([(best // w - place // w).abs(), (best % w - place % w).abs()]).amax(dim=0)
    return (off <= reach).double().mean(dim=1).reshape(b)


def chance(h: int, w: int, reach: int = 1) -> float:
    """Return the recall of a match at random, a mean over the cells of an (h, w) map."""
    near = [
        sum(1 for u in range(h) if abs(u - i) <= reach) * sum(1 for v in range(w) if abs(v - j) <= reach)
        for i in range(h)
        for j in range(w)
    ]
    return sum(near) / (h * w) ** 2
