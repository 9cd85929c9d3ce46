"""Texts of a batch in groups of similar length, so that little padding is computed and memory has a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diptych.core import Encoder, Inputs, MissingHook

GROUPS = "/groups"
"""Ends the name of a view whose inputs are in groups."""
ORDER = "order"


def cut(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Return (first, end) of groups of rows whose number times their greatest length is at most a budget.

    Args:
        lengths: (N,), ascending, in tokens.
        budget: tokens of a group, padding included. A row that is longer is a group of its own.

    Example:
        >>> cut([5, 5, 7, 20, 90], budget=21)
        [(0, 3), (3, 4), (4, 5)]
    """
    starts = [0]
    for i, length in enumerate(lengths):
        if i > starts[-1] and (i - starts[-1] + 1) * length > budget:
            starts.append(i)
    return list(pairwise([*starts, len(lengths)])) if lengths else []


def grouped(encoder: Encoder[Any], texts: Sequence[str], budget: int) -> dict[str, Inputs]:
    """Return the inputs of B texts in groups, and as "order" the (B,) place of each text among them.

    Args:
        encoder: of texts, whose inputs are as long as the longest text where padding has no effect.
        texts: B.
        budget: tokens of a group, see ``cut``.

    Raises:
        MissingHook: the encoder reads no tokens.
    """
    lengths = [_length(encoder.inputs([text])) for text in texts]
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    spans = cut([lengths[i] for i in order], budget)
    parts: dict[str, Inputs] = {
        str(k): encoder.inputs([texts[i] for i in order[a:b]]) for k, (a, b) in enumerate(spans)
    }
    return {**parts, ORDER: torch.argsort(torch.tensor(order))}


def encoded(encoder: Encoder[Any], groups: Mapping[str, Inputs]) -> Tensor:
    """Return the (B, D) embeddings of grouped texts, in the order of the batch."""
    order: Any = groups[ORDER]
    rows = torch.cat([encoder.encode(groups[str(k)]) for k in range(len(groups) - 1)])
    return rows[order.to(rows.device)]


def _length(x: Inputs) -> int:
    ids = x if isinstance(x, Tensor) else next((t for t in x.values() if t.ndim == 2), None)
    if ids is None or ids.is_floating_point():
        raise MissingHook("This text encoder reads no tokens that could be counted: leave out the groups by length.")
    return int(ids.shape[1])
