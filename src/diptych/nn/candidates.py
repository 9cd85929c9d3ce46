"""Candidate classes: the few that an image is most similar to, for systems that look at an image twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def candidates(cosines: Tensor, k: int) -> tuple[Tensor, dict[tuple[int, ...], list[int]]]:
    """Return the k classes that each item is most similar to, as a mask and as items by candidate set.

    Args:
        cosines: (N, K) of items and class names.
        k: candidates per item, from 1 to K; of ties the first class.

    Returns:
        (N, K) bool, and {k class positions, ascending: positions of the items that have exactly these candidates}.
    """
    best = cosines.argsort(dim=1, descending=True, stable=True)[:, :k]
    sets: dict[tuple[int, ...], list[int]] = {}
    for item, row in enumerate(best.sort(dim=1).values.tolist()):
        sets.setdefault(tuple(row), []).append(item)
    return torch.zeros_like(cosines, dtype=torch.bool).scatter(1, best, True), sets


def ceiling(cosines: Tensor, labels: NDArray[np.int64], k: int) -> float:
    """Return the share of items whose class is among their k candidates, which bounds the accuracy of a second look.

    Args:
        cosines: (N, K) of the first look.
        labels: (N,) class positions.
        k: candidates per item.
    """
    chosen, _ = candidates(cosines, k)
    return float(chosen[torch.arange(len(cosines)), torch.tensor(labels)].double().mean())


GUESSES = 3
"""Guesses of an image, best first, by which it may be assigned to a class that has no image yet."""


def sure_images(p: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Choose the images that label themselves.

    - Each class takes, of the images whose first guess it is, the k with the highest probability.
    - A class that is the first guess of no image takes the surest of those whose second guess it is, else third.
    - An image that one class has taken goes to no other.

    Args:
        p: (N, K) class probabilities.
        k: images per class, at most.

    Returns:
        (n,) positions, ascending, each once, and their (n,) classes.
    """
    guesses = p.argsort(dim=1, descending=True, stable=True)
    label = torch.full((len(p),), -1)
    for rank in range(min(GUESSES, p.shape[1])):
        for c in range(p.shape[1]):
            if rank and bool((label == c).any()):
                continue
            rows = ((guesses[:, rank] == c) & (label < 0)).nonzero()[:, 0]
            label[rows[p[rows, c].argsort(descending=True, stable=True)[:k]]] = c
    chosen = (label >= 0).nonzero()[:, 0]
    return chosen, label[chosen]
