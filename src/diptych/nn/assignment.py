"""Matching of two sets, such as words and patches, by the assignment whose similarities have the largest sum."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from diptych.core import UsageError


def assign(similarities: Tensor, capacity: int = 1) -> Tensor:
    """Return the column of each row, (L,) int64, in the assignment with the largest sum.

    Args:
        similarities: (L, P), L <= capacity P. No gradient passes the choice.
        capacity: rows that may share a column, >= 1. 1 is bipartite matching; from L on, each row takes its best.

    Raises:
        UsageError: there are more rows than places.

    Source: Kuhn 1955; scipy's ``linear_sum_assignment``, with each column repeated ``capacity`` times.

    Example:
        >>> both_want_the_first = torch.tensor([[0.9, 0.1], [0.8, 0.7]])
        >>> assign(both_want_the_first).tolist(), assign(both_want_the_first, capacity=2).tolist()
        ([0, 1], [0, 0])
    """
    rows, columns = similarities.shape
    if rows > capacity * columns:
        raise UsageError(
            f"{rows} rows do not fit in {columns} columns that take {capacity} each: give a capacity of at least "
            f"{-(-rows // max(1, columns))}."
        )
    if capacity >= rows:
        return similarities.detach().argmax(1)
    places = np.tile(similarities.detach().float().cpu().numpy(), (1, capacity))
    return torch.as_tensor(linear_sum_assignment(places, maximize=True)[1] % columns, device=similarities.device)


def matched(words: Tensor, valid: Tensor, patches: Tensor, capacity: int = 1) -> Tensor:
    """Return the mean similarity of the words and the patches that they are assigned to, (B,).

    A pair with more words than places gets the least capacity that suffices; one without words scores 0.

    Args:
        words: (B, L, D) unit.
        valid: (B, L) bool, False for tokens that are no words.
        patches: (B, P, D) unit.
        capacity: as in ``assign``.
    """
    with torch.autocast(words.device.type, enabled=False):  # logits of a loss, which half precision would round
        similarities = words @ patches.mT
    chosen = torch.zeros(similarities.shape[:2], dtype=torch.long)
    # Assigned on the CPU, to which all pairs go at once.
    for cosines, mask, columns in zip(similarities.detach().cpu(), valid.cpu(), chosen, strict=True):
        count = int(mask.sum())
        if count:
            columns[mask] = assign(cosines[mask], max(capacity, -(-count // cosines.shape[1])))
    best = similarities.gather(2, chosen.to(words.device)[..., None])[..., 0]
    return (best * valid).sum(1) / valid.sum(1).clamp(min=1)
