"""Implicit alignment of neighbouring frames: a soft square mask round one predicted point of each frame of a pair.

    a           = LN(W h)                                    tokens of all frames, one block of an image tower
    g_t         = interact([a_t, a_(t+1)])                   maps of a pair of neighbours
    p_t, q_t    = 3/4 tanh(points(g_t))                      a point in the first frame and one in the second
    M(p)        = m(|u_y - p_y|) m(|u_x - p_x|),             m(d) = 1 where d <= 1/4, else max(0, 1 - 3/2 (d - 1/4))
    pre_t       = M(p_t) a_t,   cur_t = M(q_t) a_(t+1)
    aligned_t   = mean of pre_t and cur_(t-1),               the first frame has no cur, the last one no pre
    gap         = mean over t of 1 - cos( sum over pixels of pre_t, sum over pixels of cur_t )
    h           <- h + W_a aligned + W_i inter,              W_a = W_i = 0 at the start

h: tokens before a block;  W, W_a, W_i: linear maps
u: coordinates of the cells, from -1 to 1 along each side, in which the points are too
inter: the two halves of g, joined over the pairs as aligned, convolved over time
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cosine_similarity, max_pool2d

NEAR, SLOPE, REACH, STEP = 0.25, 1.5, 0.75, 0.2
"""Half side of the full square, slope beyond it, largest coordinate of a point, and shift of the points in training."""
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def side_mask(centre: Tensor, cells: int) -> Tensor:
    """Return the (..., cells) weights m(|u - centre|) along one side.

    Example:
        >>> side_mask(torch.tensor(0.0), 5)  # cells at -1, -0.5, 0, 0.5 and 1
        tensor([0.0000, 0.6250, 1.0000, 0.6250, 0.0000])
    """
    u = torch.linspace(-1, 1, cells, dtype=centre.dtype, device=centre.device) if cells > 1 else centre.new_zeros(1)
    apart = (u - centre[..., None]).abs()
    return (1 - SLOPE * (apart - NEAR).clamp(min=0)).clamp(min=0)


def soft_mask(points: Tensor, grid: tuple[int, int], shift: float | None = None) -> Tensor:
    """Return the (..., H, W) masks round (..., 2) points x, y.

    Args:
        points: in [-1, 1].
        grid: H, W.
        shift: in training the mask is the mean over nine points, shifted by so much; None: over the point alone.
    """
    shifts = points.new_tensor(SHIFTS) * shift if shift is not None else points.new_zeros(1, 2)
    x, y = (points[..., None, :] + shifts).unbind(-1)
    return (side_mask(y, grid[0])[..., :, None] * side_mask(x, grid[1])[..., None, :]).mean(-3)


def per_frame(pre: Tensor, cur: Tensor) -> Tensor:
    """Return the (B, T, ...) values of frames from those of T - 1 pairs: of their first, and of their second frames.

    Example:
        >>> per_frame(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
        tensor([[ 1.,  6., 20.]])
    """
    return torch.cat([pre[:, :1], (pre[:, 1:] + cur[:, :-1]) / 2, cur[:, -1:]], dim=1)


def gap(pre: Tensor, cur: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between (B, T - 1, C, H, W) maps, each summed over its pixels."""
    return (1 - cosine_similarity(pre.sum((-2, -1)), cur.sum((-2, -1)), dim=-1)).mean()


class FrameNorm(nn.BatchNorm2d):
    """BatchNorm that in tests may take the statistics of its input, in place of the running ones.

    Attributes:
        of_batch: whether it does.

    Example:
        >>> norm, x = FrameNorm(1).eval(), torch.tensor([2.0, 4.0])[:, None, None, None]
        >>> norm.of_batch = True
        >>> norm(x).flatten().round().tolist()
        [-1.0, 1.0]
    """

    of_batch: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed (B, C, H, W) maps."""
        if self.of_batch and not self.training:
            return batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)


def _convolved(channels: int, out: int, side: int, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, side, padding=side // 2, groups=groups), FrameNorm(out), nn.ReLU()]


class PointNetwork(nn.Module):
    """Predicts the two points of each pair.

    Args:
        hidden: channels of the maps, a multiple of 16.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        half, quarter = hidden // 2, hidden // 4
        self.first, self.first_norm = nn.Conv2d(hidden, half, 3, padding=1), FrameNorm(half)
        self.second, self.second_norm = nn.Conv2d(half, half, 3, padding=1), FrameNorm(half)
        self.time, self.last = nn.Conv1d(half, quarter, 1, groups=2), nn.Conv1d(quarter, 4, 1, groups=2)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, g: Tensor) -> Tensor:
        """Return the (B, T - 1, 2, 2) points x, y in both frames of (B, T - 1, hidden, H, W) maps."""
        h = g.flatten(0, 1)
        for conv, norm in ((self.first, self.first_norm), (self.second, self.second_norm)):
            h = norm(conv(h))
            h = max_pool2d(h, min(2, *h.shape[-2:])).relu()
        pooled = torch.unflatten(h.amax((-2, -1)), 0, g.shape[:2]).mT
        out: Tensor = REACH * self.last(self.time(pooled).relu()).tanh()
        return torch.unflatten(out.mT, 2, (2, 2))


class AlignedFrames(nn.Module):
    """Adds aligned neighbours to the tokens of a block.

    Args:
        width: C of the tower.
        hidden: channels of the maps of a pair, a multiple of 16.

    Source: Tu et al. 2023 (ILA), section 3, in the form of the authors' code for Kinetics.
    """

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.enter, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.interact = nn.Sequential(
            *_convolved(2 * width, 2 * width, 3, groups=2 * width),
            *_convolved(2 * width, hidden, 1),
            *_convolved(hidden, hidden, 3),
        )
        self.points = PointNetwork(hidden)
        self.time = nn.Conv3d(hidden // 2, hidden // 2, (3, 1, 1), padding=(1, 0, 0))
        self.leave = nn.Linear(hidden // 2, width)
        self.aligned, self.interactive = nn.Linear(width, width), nn.Linear(width, width)
        for layer in (self.aligned, self.interactive):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, h: Tensor, frames: int, grid: tuple[int, int], prefix: int, shift: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is added to the tokens, the gap, and the points.

        Args:
            h: (B T, L, C) tokens of B clips, frame after frame.
            frames: T, at least 2.
            grid: H, W of the patches.
            prefix: tokens before them, which are in no pair.
            shift: see ``soft_mask``.

        Returns:
            (B T, L, C), a scalar, and (B, T - 1, 2, 2).
        """
        a = self.norm(self.enter(h)).unflatten(0, (-1, frames))
        first, patches = a[:, :, :prefix], a[:, :, prefix:].unflatten(2, grid).movedim(-1, 2)
        pre, cur = patches[:, :-1], patches[:, 1:]
        g = self.interact(torch.cat([pre, cur], 2).flatten(0, 1)).unflatten(0, pre.shape[:2])
        points = self.points(g)
        masks = soft_mask(points, grid, shift)[..., None, :, :]
        pre, cur = pre * masks[:, :, 0], cur * masks[:, :, 1]
        inter = self.time(per_frame(*g.chunk(2, dim=2)).transpose(1, 2)).transpose(1, 2)
        rows = [per_frame(pre, cur), self.leave(inter.movedim(2, -1)).movedim(-1, 2)]
        tokens = [torch.cat([first, row.flatten(3).mT], 2).flatten(0, 1) for row in rows]
        return self.aligned(tokens[0]) + self.interactive(tokens[1]), gap(pre, cur), points


def quick_gelu(x: Tensor) -> Tensor:
    """Return x sigmoid(1.702 x), the activation of X-CLIP."""
    return x * (1.702 * x).sigmoid()


class Integration(nn.Module):
    """One transformer layer over the frames of a clip, with learnt positions and a residual, then the mean.

    Args:
        dim: E; there is one head for each 64 of it, and at least one.
        frames: T.

    Source: Ni et al. 2022 (X-CLIP), the multi-frame integration transformer.
    """

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        heads = max(1, dim // 64)
        heads = heads if dim % heads == 0 else 1
        self.positions = nn.Parameter(0.02 * torch.randn(frames, dim))
        self.layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, quick_gelu, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, E) embeddings of clips from the (B, T, E) embeddings of their frames."""
        out: Tensor = (x + self.layer(x + self.positions)).mean(1)
        return out


class _CrossLayer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        heads = max(1, dim // 64)
        self.attend = nn.MultiheadAttention(dim, heads if dim % heads == 0 else 1, batch_first=True)
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attend(self.before(x), seen, seen, need_weights=False)[0]
        out: Tensor = x + self.narrow(quick_gelu(self.wide(self.between(x))))
        return out


class ClipPrompts(nn.Module):
    """Changes the embeddings of texts by what a clip shows.

    Args:
        width: C of the patch tokens.
        dim: E of the texts.

    Source: Ni et al. 2022 (X-CLIP), the video-specific prompts.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, dim, bias=False)
        self.after = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(_CrossLayer(dim) for _ in range(2))
        self.alpha = nn.Parameter(torch.full((dim,), 0.1))

    def read(self, h: Tensor, frames: int) -> Tensor:
        """Return (B, P, C), the mean over the frames of (B T, P, C) patch tokens, each of which is normed first."""
        out: Tensor = self.norm(h).unflatten(0, (-1, frames)).mean(1)
        return out

    def forward(self, texts: Tensor, seen: Tensor) -> Tensor:
        """Return the (B, K, E) texts for each clip, from (K, E) texts and what ``read`` returns of clips."""
        seen = self.after(self.project(seen))
        x = texts.expand(len(seen), -1, -1)
        for layer in self.layers:
            x = layer(x, seen)
        return texts + self.alpha * x
