"""Which cells of an image belong together: affinities of a guide, of SAM's last attention, and of proposed regions.

    guide     R_ij  = softmax_j( gamma (S_ij - beta mean(S)) ),  j with S_ij > beta mean(S), and j = i
    SAM       tau_i = min(c mean over heads and j of C^a_ij, 0.9),   M_ij ~ sum over heads a of W^a_ij 1[C^a_ij > tau_i]
    regions   M_ij  ~ sum over q of m_qi m_qj / |m_q|,  so that M U = sum over q of m_qi mu_q / sum over q of m_qi
    flat      f_qi  = 1 where q = argmin over r with m_ri >= 1/2 of |m_r|, else 0;  in place of m where regions nest

Sizes: n cells, a of the heads
S: (n, n) cosines of a guide's patches;  mean(S): over all windows of an image
W^a, C^a: (n, n) softmax attention of SAM's last block, and cosines of its values
m_q: (n,) in [0, 1], how much a cell belongs to region q;  |m_q|: its sum;  mu_q: mean of the features U over it
Rows of R and M sum to 1. A row of M without any cell is the cell itself.

Source: Trident (Shi et al. 2024) for the first two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import probabilities
from diptych.core import MissingHook, Space, Tower
from diptych.core.backbone import PLAIN

_HIGHEST = 0.9  # of tau


def guide_affinity(s: Tensor, mean: float, beta: float, gamma: float) -> Tensor:
    """Return R, (n, n), rows sum to 1.

    Args:
        s: (n, n) cosines of a window's patches.
        mean: of the cosines over all windows of the image.
        beta: factor of the mean, >= 0; a cell attends to cells whose cosine lies above their product, and to itself.
        gamma: inverse temperature, > 0.
    """
    above = s - beta * mean
    itself = torch.eye(len(s), dtype=torch.bool, device=s.device)
    return (gamma * above).masked_fill((above < 0) & ~itself, float("-inf")).softmax(-1)


def correlation(w: Tensor, v: Tensor, factor: float, negative: float | None = None) -> Tensor:
    """Return M, (n, n), of SAM's last attention, rows sum to 1.

    Args:
        w: (heads, n, n) attention probabilities.
        v: (heads, n, d) values.
        factor: c, of the mean cosine; 0 keeps cells whose cosine is positive.
        negative: threshold in place of a negative one; None: it stays negative.
    """
    unit = F.normalize(v, dim=-1)
    mean = torch.stack([(u @ u.sum(0)) / len(u) for u in unit]).mean(0)  # over heads and cells, without (n, n)
    tau = (factor * mean).clamp_max(_HIGHEST)
    tau = tau if negative is None else torch.where(tau < 0, negative, tau)
    total = w.new_zeros(w.shape[1:])
    for a in range(len(w)):
        total += w[a] * (unit[a] @ unit[a].T > tau[:, None])
    return _rows(total)


def region_means(u: Tensor, masks: Tensor) -> Tensor:
    """Return M U, (C, h, w), of regions: each cell becomes the mean of the means of its regions.

    M itself is never formed: its size is the square of the number of cells.

    Args:
        u: (C, h, w) features.
        masks: (Q, h, w) in [0, 1]. A cell of no region stays as it is.

    Example:
        >>> import torch
        >>> u = torch.tensor([[[0.0, 2.0, 8.0]]])
        >>> region_means(u, torch.tensor([[[1.0, 1.0, 0.0]]]))  # the last cell is in no region
        tensor([[[1., 1., 8.]]])
    """
    m, flat = masks.flatten(1).to(u), u.flatten(1)
    means = (m @ flat.T) / m.sum(1, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny)  # (Q, C)
    share = m.sum(0)
    mixed = (m.T @ means).T / share.clamp_min(torch.finfo(u.dtype).tiny)
    return torch.where(share > 0, mixed, flat).reshape(u.shape)


def smallest_regions(masks: Tensor) -> Tensor:
    """Return (Q, h, w) in {0, 1}: a flat partition, in which each cell is in the smallest of its regions alone.

    Regions of every scale lie inside each other. Under the mean over all of them the largest decide, and a picture
    becomes one class.

    Args:
        masks: (Q, h, w) in [0, 1]. A cell is in a region from 1/2; of regions of one size the first has it, and a cell
            of no region is in none.

    Example:
        >>> import torch
        >>> whole, half = torch.tensor([[1.0, 1.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> smallest_regions(torch.stack([whole, half]))[:, 0]
        tensor([[0., 0., 1., 1.],
                [1., 1., 0., 0.]])
    """
    flat = torch.zeros(masks.shape, device=masks.device)
    if not len(masks):
        return flat
    inside = masks >= 0.5
    area = inside.flatten(1).sum(1).float()[:, None, None].expand(masks.shape)
    owner = area.masked_fill(~inside, float("inf")).argmin(0, keepdim=True)
    return flat.scatter_(0, owner, 1.0) * inside


def _rows(m: Tensor) -> Tensor:
    sums = m.sum(-1, keepdim=True)
    return torch.where(sums > 0, m / sums.clamp_min(torch.finfo(m.dtype).tiny), torch.eye(len(m), device=m.device))


def last_attention(
    space: Space, x: Tensor, valid: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return (heads, n, n) attention probabilities of the last block, (heads, n, d) values, and the grid of one image.

    CLS, registers and cells outside ``valid`` are left out, without new normalisation. Heads are taken one by one, so
    that beside the result one bias of all heads is in memory: 0.8 GB for 12 heads on 64 x 64 cells.

    Args:
        space: with an image tower.
        x: (1, 3, H, W) normalised pixels.
        valid: rows and columns of cells that hold the image, from the top left; None: all.

    Raises:
        MissingHook: the space has no image tower, or its last block attends in windows.
    """
    tower, caught = space.tower("image"), dict[str, Tensor]()
    last = tower.depth - 1
    s = tower.blocks(tower.start(x), stop=last)
    assert s.grid is not None
    rows, columns = valid or s.grid
    at = (torch.arange(rows)[:, None] * s.grid[1] + torch.arange(columns)).flatten().to(s.h.device) + s.prefix

    def record(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        if len(v) > 1:
            name = space.spec.name
            raise MissingHook(f"The last block of {name} attends in windows: use an encoder with global attention.")
        heads = []
        for a in range(q.shape[1]):
            of_head = None if bias is None else bias[:, min(a, bias.shape[1] - 1)][:, None, at]
            heads.append(probabilities(q[:, a : a + 1, at], k[:, a : a + 1], of_head)[0, 0, :, at])
        caught["w"], caught["v"] = torch.stack(heads), v[0, :, at]
        return v

    tower.attend(s, last, record)
    return caught["w"].float(), caught["v"].float(), (rows, columns)


def spliced(parts: list[tuple[Tensor, int, int]], height: int, width: int) -> Tensor:
    """Return the map of an image, (C, height, width): the mean of all windows at a cell.

    Args:
        parts: (C, h, w) maps of windows with the row and column of their first cell.
        height: cells of the image's height.
        width: of its width.
    """
    total = parts[0][0].new_zeros(len(parts[0][0]), height, width)
    visits = total.new_zeros(height, width)
    for u, top, left in parts:
        h, w = u.shape[1:]
        total[:, top : top + h, left : left + w] += u
        visits[top : top + h, left : left + w] += 1
    return total / visits


def mixed_values(tower: Tower, x: Tensor, r: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return W_o (R W_v LN1(x)), (B, C, h', w'), of windows of one size: values mixed by a guide's affinities.

    Args:
        tower: of CLIP's images.
        x: (B, 3, H, W) normalised pixels.
        r: (B, n', n') affinities; rows sum to 1.
        grid: h', w' of the affinities, n' = h' w'. Values are resized to it bilinearly.
    """
    last = tower.depth - 1
    s = tower.blocks(tower.start(x, positions=PLAIN), stop=last)
    assert s.grid is not None
    h, w = s.grid

    def mix(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        values = v[:, :, s.prefix : s.prefix + h * w]  # (B, heads, n, d)
        plane = F.interpolate(values.transpose(2, 3).flatten(1, 2).reshape(len(v), -1, h, w), grid, mode="bilinear")
        return r.to(v)[:, None] @ plane.reshape(len(v), v.shape[1], v.shape[3], -1).transpose(2, 3)

    attended: Tensor = tower.attend(s, last, mix)
    return attended.transpose(1, 2).reshape(len(x), -1, *grid)
