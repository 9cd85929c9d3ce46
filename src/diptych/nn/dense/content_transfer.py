"""Text vectors that have seen the image: each class embedding attends to the cells of the map (MAFT+).

    T' = T + LN( W A ),   A = attention( queries T, keys U + E, values U )

T: (W, D) unit embeddings of words;  U: (n, D) embeddings of the n cells of an image, each with mean 0 and variance 1
E: (n, D) sine code of the positions;  A: (W, d) attended values of all heads;  W: (D, d)
LN: its gain and shift are zero at the start, so T' = T

T' is not normalised: logits are s cos(q, t) |T'|.

Source: Jiao et al. 2024 (MAFT+, arXiv 2408.00744), section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ContentTransfer(nn.Module):
    """The cross-attention; its first weights are from torch's global generator.

    Args:
        dim: D.
        width: d, inner width of all heads; the authors' is D.
        heads: their number, a divisor of ``width``.

    Example:
        >>> import torch
        >>> words, cells = torch.eye(8)[:3], torch.randn(2, 8, 5, 6)  # three words; two images of 5 x 6 cells
        >>> transfer = ContentTransfer(8, width=4, heads=2)
        >>> transfer(words, cells).shape, bool((transfer(words, cells) == words).all())  # nothing is learnt yet
        (torch.Size([2, 3, 8]), True)
    """

    def __init__(self, dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.ask = nn.Linear(dim, width)
        self.attend = nn.MultiheadAttention(width, heads, kdim=dim, vdim=dim, batch_first=True)
        self.out = nn.Linear(width, dim)
        self.norm = nn.LayerNorm(dim)
        # The norm's gain and not W: any W but 0 is scaled up to a length of sqrt(D), which is far above that of T.
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, words: Tensor, cells: Tensor) -> Tensor:
        """Return T', (B, W, D), of (W, D) words and (B, D, h, w) embeddings of cells."""
        flat = cells.flatten(2).transpose(1, 2)
        values = F.layer_norm(flat, flat.shape[-1:])
        keys = values + sine_positions(cells).to(values)
        queries = self.ask(words.to(values)).expand(len(cells), -1, -1)
        attended: Tensor = self.attend(queries, keys, values, need_weights=False)[0]
        out: Tensor = words.to(values) + self.norm(self.out(attended))
        return out


class ReferenceTransfer(nn.Module):
    """The cross-attention as the released code has it, for its weights alone.

        T' = LN( T + W A )  or  T + LN( W A ),   A = attention( queries T, keys U + E, values U )

    U is made of a map whose channels and positions the code mixes, see ``mixed_cells``, and is not scaled.

    Args:
        dim: D, also the width of the attention.
        heads: a divisor of D.

    Attributes:
        sum_normed: 1 where the norm is of the sum (the semantic models), 0 where it is of W A (the panoptic one).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.sum_normed: Tensor
        self.register_buffer("sum_normed", torch.zeros(()))

    def forward(self, words: Tensor, cells: Tensor) -> Tensor:
        """Return T', (B, W, D), of (W, D) words and (B, D, h, w) embeddings of mixed cells."""
        values = cells.flatten(2).transpose(1, 2)
        queries = words.to(values).expand(len(cells), -1, -1)
        keys = values + sine_positions(cells).to(values)
        moved = self.out(self.attend(queries, keys, values, need_weights=False)[0])
        out: Tensor = self.norm(queries + moved) if self.sum_normed else queries + self.norm(moved)
        return out


def mixed_cells(last: Tensor) -> Tensor:
    """Return (B, C, h, w): the map read as h w rows of C numbers in the order in which it lies in memory.

    Example:
        >>> mixed_cells(torch.arange(4.0).reshape(1, 2, 1, 2)).flatten(2)[0]  # two channels of two cells
        tensor([[0., 2.],
                [1., 3.]])
    """
    batch, channels, height, width = last.shape
    return last.reshape(batch, height * width, channels).transpose(1, 2).reshape(batch, channels, height, width)


def sine_positions(cells: Tensor) -> Tensor:
    """Return (1, n, D) the sine code of the positions of (B, D, h, w) cells, that of Mask2Former."""
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

    dim, (height, width) = cells.shape[1], cells.shape[2:]
    each = 2 * -(-dim // 4)  # sines and cosines of two axes
    code: Any = Mask2FormerSinePositionEmbedding(each, normalize=True)
    positions: Tensor = code(torch.Size((1, dim, height, width)), cells.device, torch.float32)
    return positions[:, :dim].flatten(2).transpose(1, 2)
