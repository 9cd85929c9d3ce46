"""The prompter of CLOC: image tokens and a place, or words, become the embedding of one region.

    t      = W_b [c(x0, y0) ; c(x1, y1)] + e_b      the prompt of a box
    t      = W_t y + e_t                            the prompt of a text
    H      = layer([t ; X + c(cells)])              one pre-norm transformer layer with a single head
    z      = P pool(H)                              pool: the token of the prompt, or the mean of all tokens
    box    = W_2 gelu(W_1 z + b_1) + b_2

X: (L, C) image tokens before the tower's pooling and projection
c(x, y): (C,) sines and cosines of a point, x and y in [0, 1] of the picture; cells: the (L, 2) centres of the tokens
y: (D,) unit embedding of a text
z: (D,) embedding of the region, in the joint space, not normalised
box: (4,) x0 y0 x1 y1 in [0, 1]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import DataError

Pool = Literal["prompt", "all"]
LONGEST, SHORTEST = 4.0, 1 / 16
"""Periods of the codes, in sides of the picture."""


def point_code(points: Tensor, width: int) -> Tensor:
    """Return (..., width) sines and cosines of points, with periods from 4 sides of the picture to 1/16.

        c(x, y) = [sin(2 pi f_k x), cos(2 pi f_k x), sin(2 pi f_k y), cos(2 pi f_k y)]

    f_k: frequencies in even ratios; a width that 4 does not divide is filled up with zeros.

    Args:
        points: (..., 2) x and y in [0, 1].
        width: C, >= 4.

    Example:
        >>> point_code(torch.tensor([[0.0, 0.0]]), 8).tolist()
        [[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]
    """
    count = width // 4
    steps = torch.linspace(0, 1, count, device=points.device, dtype=points.dtype)
    turns = 2 * math.pi / LONGEST * (LONGEST / SHORTEST) ** steps
    angles = points[..., None] * turns
    code = torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)
    return F.pad(code, (0, width - 4 * count))


def cell_centres(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Return the (h w, 2) centres x, y of the cells of a grid (h, w), row by row, in [0, 1]."""
    y, x = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


class Prompter(nn.Module):
    """See the head of this file.

    Args:
        width: C of the image tokens, >= 4.
        dim: D of the joint space.
        pool: what is pooled: the "prompt"'s own token, whose attention is all that is then computed, or "all" tokens.
    """

    def __init__(self, width: int, dim: int, pool: Pool = "prompt") -> None:
        super().__init__()
        self.width, self.dim, self.pool = width, dim, pool
        self.of_box, self.of_text = nn.Linear(2 * width, width), nn.Linear(dim, width)
        self.layer = nn.TransformerEncoderLayer(
            width, 1, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.project = nn.Linear(width, dim)
        self.box_head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 4))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], pool: Pool = "prompt") -> Prompter:
        """Return the prompter of saved tensors, such as ``load_parts(folder)["prompter"]``.

        Raises:
            DataError: they are not those of a prompter.
        """
        try:
            dim, width = tensors["project.weight"].shape
            prompter = cls(width, dim, pool)
            prompter.load_state_dict(dict(tensors))
        except (KeyError, ValueError, RuntimeError) as error:
            raise DataError(
                f"These tensors are no prompter ({str(error)[:80]}): give the part 'prompter' of a model of cloc."
            ) from None
        return prompter.eval()

    def boxes(self, cells: Tensor, boxes: Tensor, owner: Tensor) -> Tensor:
        """Return the (b, D) embeddings of boxes.

        Args:
            cells: (B, C, h, w) image tokens.
            boxes: (b, 4) x0 y0 x1 y1 in [0, 1] of what the tower sees.
            owner: (b,) number of the picture of each box.
        """
        corners = point_code(torch.unflatten(boxes.to(cells.dtype), -1, (2, 2)), self.width)
        return self._regions(self.of_box(corners.flatten(-2)), cells, owner)

    def texts(self, cells: Tensor, texts: Tensor, owner: Tensor) -> Tensor:
        """Return the (b, D) embeddings of the regions that texts mean.

        Args:
            cells: (B, C, h, w) image tokens.
            texts: (b, D) unit embeddings.
            owner: (b,) number of the picture of each text.
        """
        return self._regions(self.of_text(texts), cells, owner)

    def grounded(self, cells: Tensor, texts: Tensor, owner: Tensor) -> Tensor:
        """Return the (b, 4) boxes that texts mean, x0 y0 x1 y1 around [0, 1]; see ``texts``."""
        out: Tensor = self.box_head(self.texts(cells, texts, owner))
        return out

    def _regions(self, prompts: Tensor, cells: Tensor, owner: Tensor) -> Tensor:
        grid = (int(cells.shape[2]), int(cells.shape[3]))
        tokens = cells.flatten(2).transpose(1, 2)
        tokens = tokens + point_code(cell_centres(grid, tokens), self.width)
        if self.pool == "all":
            pooled = self.layer(torch.cat([prompts[:, None], tokens[owner]], dim=1)).mean(1)
        else:
            pooled = self._first(prompts, tokens, owner)
        out: Tensor = self.project(pooled)
        return out

    def _first(self, prompts: Tensor, tokens: Tensor, owner: Tensor) -> Tensor:
        """Return the layer's output at the prompt alone; keys and values of a picture are computed once."""
        layer, attn = self.layer, self.layer.self_attn
        normed = layer.norm1(prompts)
        (wq, wk, wv), (bq, bk, bv) = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        q = F.linear(normed, wq, bq)[:, None]
        seen = layer.norm1(tokens)
        k, v = (
            torch.cat([F.linear(normed, w, b)[:, None], F.linear(seen, w, b)[owner]], dim=1)
            for w, b in ((wk, bk), (wv, bv))
        )
        h = prompts + attn.out_proj(F.scaled_dot_product_attention(q, k, v))[:, 0]
        out: Tensor = h + layer.linear2(F.gelu(layer.linear1(layer.norm2(h))))
        return out
