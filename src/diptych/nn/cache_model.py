"""The key-value cache of Tip-Adapter: stored image features vote for their labels. Shared by all cache systems.

Source: Zhang et al., "Tip-Adapter" (ECCV 2022), sections 3.1 and 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Samples
from diptych.core.method import FittedClassifier, Scores
from diptych.core.run import Run
from diptych.features.embed import embed
from diptych.features.heads import logits
from diptych.nn.mixing import CELLS, first_best, hits


def cache_keys(views: Tensor) -> Tensor:
    """Return (M, D) unit keys of (M, A, D) embeddings: the mean over A views, before normalising, normalised."""
    return normalize(views.float().mean(dim=1), dim=-1)


def affinity(similarity: Tensor, beta: float | Tensor) -> Tensor:
    """Return ``exp(-beta (1 - a))``, elementwise, of similarities ``a``: 1 where a = 1, and 1 everywhere where beta =
    0.
    """
    return torch.exp(-beta * (1 - similarity))


def cache_logits(x: Tensor, keys: Tensor, labels: Tensor, classes: int, beta: float) -> Tensor:
    """Let the keys vote: ``exp(-beta (1 - x F^T)) L``.

    Args:
        x: (N, D) unit embeddings.
        keys: (M, D) keys F; unit vectors, unless they were trained.
        labels: (M,) int64 class positions; L is their one-hot matrix.
        classes: K.
        beta: sharpness, >= 0.

    Returns:
        (N, K) votes, >= 0.
    """
    values = one_hot(labels, classes).to(x.dtype)
    rows = max(1, CELLS // len(keys))
    return torch.cat([affinity(part @ keys.T, beta) @ values for part in torch.split(x, rows)])


def cache_hits(
    x: Tensor, base: Tensor, y: Tensor, keys: Tensor, labels: Tensor, betas: Tensor, alphas: Tensor
) -> Tensor:
    """Count right answers of ``base + alpha * cache_logits(beta)`` on a grid, in bounded memory.

    Args:
        x: (N, D) unit embeddings of held-out items.
        base: (N, K) zero-shot logits of the same items.
        y: (N,) their class positions.
        keys: (M, D).
        labels: (M,) class positions of the keys.
        betas: (b,) ascending.
        alphas: (a,) ascending.

    Returns:
        (b, a) int64 counts.
    """
    values = one_hot(labels, base.shape[1]).to(x.dtype)
    counts = torch.zeros(len(betas), len(alphas), dtype=torch.int64, device=x.device)
    rows = max(1, CELLS // max(len(keys), len(alphas) * base.shape[1]))
    for part, zero_shot, right in zip(*(torch.split(t, rows) for t in (x, base, y)), strict=True):
        similarity = part @ keys.T
        for i, beta in enumerate(betas):
            counts[i] += hits(zero_shot, affinity(similarity, beta) @ values, right, alphas)
    return counts


def grid(stop: float, steps: int) -> Tensor:
    """Return ``0.1 + i (stop - 0.1) / steps`` for i = 0 .. steps - 1: the authors' grid, its end left out."""
    return 0.1 + torch.arange(steps, dtype=torch.float32) * ((stop - 0.1) / steps)


def search_grids(alpha: float | None, beta: float | None, search: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return the (b,) betas and (a,) alphas that a search tries: 200 and 20 values up to ``search``, or the one that
    was given.
    """
    betas = grid(search[0], 200) if beta is None else torch.tensor([beta])
    alphas = grid(search[1], 20) if alpha is None else torch.tensor([alpha])
    return betas, alphas


@dataclass(frozen=True)
class FittedCache(FittedClassifier):
    """A text head and a cache, whose vote is added to the zero-shot logits.

    Args:
        classes: K names.
        backbone: embeds the images.
        head: (K, D) unit class embeddings.
        keys: (M, D) keys; unit vectors, unless they were trained.
        labels: (M,) class positions of the keys.
        alpha: weight of the vote.
        beta: sharpness of the vote.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    keys: Tensor
    labels: Tensor
    alpha: float
    beta: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits: zero-shot plus alpha times the cache's vote."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        vote = cache_logits(z, self.keys, self.labels, len(self.classes), self.beta)
        return Scores(logits(self.backbone, z, self.head) + self.alpha * vote, "logit")


def fit_cache(
    classes: ClassNames,
    backbone: Backbone,
    head: Tensor,
    keys: Tensor,
    labels: Tensor,
    grids: tuple[Tensor, Tensor],
    val: tuple[Samples[Any], Tensor] | None,
    run: Run,
) -> FittedCache:
    """Put a cache together, its alpha and beta the best on val: ties keep the smallest beta, then the smallest alpha.

    Args:
        classes: K names.
        backbone: embeds the images.
        head: (K, D) unit class embeddings.
        keys: (M, D).
        labels: (M,) class positions of the keys.
        grids: betas and alphas; of one value each where ``val`` is None.
        val: held-out items and their (N,) class positions.
        run: cache and progress.
    """
    betas, alphas = grids
    b = a = 0
    if val is not None:
        z = normalize(embed(backbone.image, val[0], run), dim=-1)
        b, a = first_best(cache_hits(z, logits(backbone, z, head), val[1], keys, labels, betas, alphas))
    return FittedCache(classes, backbone, head, keys, labels, float(alphas[a]), float(betas[b]))
