"""Control of a denoiser's attention: record it, put it back, and read from it where a word is in the picture.

    M(word) = mean over layers, heads and steps of  sum over the word's tokens of A[..., cell, token]

A: attention probabilities of cells of the picture over tokens of the text, as ``core.diffusion`` names the layers

The sum over tokens is ours: a word of several tokens has the attention of all of them.

Source: Hertz et al. 2022 (Prompt-to-Prompt), section 3, for replacing maps and for blending by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from diptych.core import AttentionHook, Site, UsageError

Seen = tuple[int, Site]
"""A step, and a layer in it."""


class OnDisk(MutableMapping[Seen, Tensor]):
    """Tensors in files of a folder, one in memory at a time: those of 50 steps of a clip take gigabytes.

    Args:
        folder: there already; whoever made it removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[Seen, Path] = {}

    def __setitem__(self, key: Seen, value: Tensor) -> None:
        self._files.setdefault(key, self.folder / f"{len(self._files)}.npy")
        plain = value.float() if value.dtype == torch.bfloat16 else value  # NumPy has no bfloat16
        np.save(self._files[key], plain.cpu().numpy())

    def __getitem__(self, key: Seen) -> Tensor:
        return torch.from_numpy(np.load(self._files[key]))

    def __delitem__(self, key: Seen) -> None:
        self._files.pop(key).unlink()

    def __iter__(self) -> Iterator[Seen]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass
class Record:
    """Attention that was seen: (step, layer) -> probabilities.

    Args:
        most: layers with more cells than this are not kept.
        maps: what was seen; (B, heads, Q, K) each.
        side: of the finest grid over the text, in cells; 1 where nothing was seen.
    """

    most: int = 32 * 32
    maps: MutableMapping[Seen, Tensor] = field(default_factory=dict)
    side: int = 1

    def at(self, step: int) -> AttentionHook:
        """Return the hook that records a step, and replaces nothing."""

        def hook(site: Site, probabilities: Tensor) -> None:
            if probabilities.shape[2] <= self.most:
                self.maps[step, site] = probabilities.detach()
                if site.kind == "cross":
                    self.side = max(self.side, round(probabilities.shape[2] ** 0.5))

        return hook

    def cross(self) -> Iterator[Tensor]:
        """Yield the maps over the text."""
        return (self.maps[key] for key in self.maps if key[1].kind == "cross")


def replaced_columns(attention: Tensor, known: Tensor, columns: Mapping[int, int]) -> Tensor:
    """Return attention over a text in which tokens that another text has too are looked at as they were there.

    Args:
        attention: (B, heads, Q, K) probabilities over the new text.
        known: (B, heads, Q, L) over the other.
        columns: position in the new text -> position in the other.

    Returns:
        (B, heads, Q, K); rows sum to 1 again where they summed to more than 0.
    """
    out = attention.clone()
    for new, old in columns.items():
        out[..., new] = known[..., old].to(out)
    return out / out.sum(-1, keepdim=True).clamp_min(torch.finfo(out.dtype).tiny)


def difference(new: Sequence[object], old: Sequence[object]) -> tuple[slice, slice]:
    """Return the shortest stretch in each of two lists of tokens or words outside which they are equal.

    Example:
        >>> difference([1, 5, 6, 9], [1, 7, 9])
        (slice(1, 3, None), slice(1, 2, None))
    """
    head = 0
    while head < min(len(new), len(old)) and new[head] == old[head]:
        head += 1
    tail = 0
    while tail < min(len(new), len(old)) - head and new[-1 - tail] == old[-1 - tail]:
        tail += 1
    return slice(head, len(new) - tail), slice(head, len(old) - tail)


def word_map(maps: Iterable[Tensor], places: Sequence[int], side: int) -> Tensor:
    """Return where a word is: the attention to all its tokens, averaged over maps and heads, on one grid.

    Args:
        maps: (B, heads, Q, K) each, over square grids of any size.
        places: positions of the word's tokens in the text, see ``TextDiffusion.places``.
        side: of the grid of the result.

    Returns:
        (B, side, side) float32, probabilities in [0, 1].

    Raises:
        UsageError: there are no maps, or the word is not in the text.
    """
    total, count = torch.zeros(()), 0
    for t in maps if places else ():
        cells = math.isqrt(t.shape[2])
        if cells * cells != t.shape[2]:
            raise UsageError(f"{t.shape[2]} cells are no square grid: record square pictures.")
        mean = t[..., list(places)].float().sum(-1).mean(1).reshape(-1, 1, cells, cells)
        count += 1
        total = total + (mean if cells == side else interpolate(mean, size=(side, side), mode="bilinear"))
    if not count:
        raise UsageError("The word is not in the text, or no attention was recorded: name a word of the text.")
    return (total / count)[:, 0]


def fused(maps: Tensor, weights: tuple[float, float, float] = (0.25, 0.5, 0.25)) -> Tensor:
    """Return the maps of frames, each with its neighbours': sum over k of w_k M_(f + k), k = -1, 0, 1.

    Args:
        maps: (F, ...) of F frames in order.
        weights: of the frame before, the frame itself, and the one after; at the ends what is there is scaled to the
            same sum.

    Example:
        >>> fused(torch.tensor([0.0, 4.0, 0.0])).tolist()
        [1.3333333730697632, 2.0, 1.3333333730697632]
    """
    total, share = torch.zeros_like(maps), maps.new_zeros(len(maps), *[1] * (maps.ndim - 1))
    for k, weight in zip((-1, 0, 1), weights, strict=True):
        here = slice(max(0, -k), len(maps) - max(0, k))
        there = slice(max(0, k), len(maps) + min(0, k))
        total[here] += weight * maps[there]
        share[here] += weight
    return total / share


def cut(maps: Tensor, threshold: float, floor: float, side: int, wider: int = 1) -> Tensor:
    """Return where an object is, (F, 1, side, side), 0 or 1, of (F, h, w) fused maps.

    Args:
        maps: probabilities that a cell shows the object.
        threshold: share of a frame's greatest value, in [0, 1].
        floor: a frame whose greatest value is below it is not changed.
        side: of the result.
        wider: cells by which an object is made larger on every side.

    Example:
        >>> b = torch.zeros(1, 4, 4)
        >>> b[0, 0, 0] = 0.5
        >>> cut(b, 0.3, 0.1, 4)[0, 0].int().tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
        >>> cut(b, 0.3, 0.6, 4).sum().item()
        0.0
    """
    wide = max_pool2d(maps[:, None], 2 * wider + 1, 1, wider)
    wide = interpolate(wide, size=(side, side), mode="bilinear")
    top = maps.flatten(1).amax(1)[:, None, None, None]
    return ((wide >= threshold * top) & (top >= floor) & (top > 0)).to(maps)


def outside(attention: Tensor, known: Tensor, m: Tensor) -> Tensor:
    """Return self-attention that is the known one in cells outside a mask.

    Args:
        attention: (F, heads, Q, Q) probabilities.
        known: of the same size.
        m: (F, 1, side, side) of any side; a cell is inside where any of it is.
    """
    cells = round(attention.shape[2] ** 0.5)
    inside = torch.nn.functional.adaptive_max_pool2d(m, cells).flatten(2)[..., None] > 0
    return torch.where(inside, attention, known.to(attention))
