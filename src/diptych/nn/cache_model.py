"""The key-value cache of Tip-Adapter, for all cache systems: stored image features vote for their labels.

Source: Zhang et al., "Tip-Adapter" (ECCV 2022), sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import Backbone, ClassNames, Evidence, FittedClassifier, Kit, Run, Samples, Scores
from diptych.data.evidence import held_out, shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.mixing import CELLS, first_best, hits


def cache_keys(views: Tensor) -> Tensor:
    """Return (M, D) unit keys of (M, A, D) embeddings: their mean over the A views, normalised afterwards."""
    return normalize(views.float().mean(dim=1), dim=-1)


def affinity(similarity: Tensor, beta: float | Tensor) -> Tensor:
    """Return ``exp(-beta (1 - a))``, elementwise, of similarities ``a``.

    It is 1 where a = 1, and 1 everywhere if beta = 0.
    """
    return ((similarity - 1) * beta).exp_()


def cache_logits(x: Tensor, keys: Tensor, labels: Tensor, classes: int, beta: float) -> Tensor:
    """Return the votes of the keys, ``exp(-beta (1 - x F^T)) L``.

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
    """Count the correct answers of ``base + alpha * cache_logits(beta)`` on a grid, in bounded memory.

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
    for part, zero_shot, part_y in zip(*(torch.split(t, rows) for t in (x, base, y)), strict=True):
        similarity = part @ keys.T
        for i, beta in enumerate(betas):
            counts[i] += hits(zero_shot, affinity(similarity, beta) @ values, part_y, alphas)
    return counts


def grid(stop: float, steps: int) -> Tensor:
    """Return ``0.1 + i (stop - 0.1) / steps`` for i = 0 .. steps - 1: the authors' grid, without its end."""
    return 0.1 + torch.arange(steps, dtype=torch.float32) * ((stop - 0.1) / steps)


def search_grids(alpha: float | None, beta: float | None, search: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return the (b,) betas and (a,) alphas that a search tries.

    They are 200 and 20 values up to ``search``, or the one value that was given.
    """
    betas = grid(search[0], 200) if beta is None else torch.tensor([beta])
    alphas = grid(search[1], 20) if alpha is None else torch.tensor([alpha])
    return betas, alphas


@dataclass(frozen=True)
class FittedCache(FittedClassifier):
    """A text head and a cache, whose vote is added to the zero-shot logits.

    Args:
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


Trained = Callable[[Backbone, Tensor, Tensor, Tensor], Tensor]
"""(backbone, (K, D) head, (M, A, D) views and (M,) labels of the shots) -> (M, D) keys."""


def fit_cache(
    kit: Kit,
    classes: ClassNames,
    evidence: Evidence[Any],
    run: Run,
    *,
    alpha: float | None,
    beta: float | None,
    search: tuple[float, float],
    views: int,
    trained: Trained | None = None,
) -> FittedCache:
    """Build a cache of the shots, and choose alpha and beta by val accuracy where they are None.

    Of ties the smallest beta wins, then the smallest alpha.

    Args:
        kit: with a backbone.
        classes: K names.
        evidence: train, and val if something is chosen.
        run: cache and progress.
        alpha: weight of the vote. None: chosen.
        beta: sharpness of the vote. None: chosen.
        search: where the search of (beta, alpha) ends.
        views: A, augmented views of each shot.
        trained: makes the keys of the views. None: ``cache_keys``.

    Raises:
        MissingPart: the kit has no backbone.
        MissingEvidence: train is missing, or val is missing and alpha or beta is None.
        DataError: a class has no train item, or a label lies outside the class list.
    """
    backbone = kit.need(Backbone)
    train, labels = shots(evidence, classes)
    val = held_out(evidence, classes, choosing="alpha and beta") if alpha is None or beta is None else None
    head = text_head(backbone, classes.prompts(), run)
    view_embeddings = embed(backbone.image, train.items, run, views=replace(TIP_VIEWS, draws=views))
    y = torch.tensor(labels)
    keys = cache_keys(view_embeddings) if trained is None else trained(backbone, head, view_embeddings, y)
    betas, alphas = search_grids(alpha, beta, search)
    b = a = 0
    if val is not None:
        z = normalize(embed(backbone.image, val[0].items, run), dim=-1)
        y_val = torch.tensor(val[1])
        b, a = first_best(cache_hits(z, logits(backbone, z, head), y_val, keys, y, betas, alphas))
    return FittedCache(classes, backbone, head, keys, y, float(alphas[a]), float(betas[b]))


def mixed_similarity(z: Tensor, images: Tensor, texts: Tensor, delta: float) -> Tensor:
    """Return (N, M) similarities, which mix similarity to support images and to their captions.

    Args:
        z: (N, D) unit embeddings of test images.
        images: (M, D) unit embeddings of support images.
        texts: (M, D) unit embeddings of their captions.
        delta: share of the captions, in [0, 1].
    """
    return (1 - delta) * (z @ images.T) + delta * (z @ texts.T)


def divergences(z: Tensor, images: Tensor, head: Tensor, tau: float) -> Tensor:
    """Return (N, M) divergences KL(q_n || p_i) of class distributions, in nats, >= 0.

    Args:
        z: (N, D) unit embeddings of test images.
        images: (M, D) unit embeddings of support images.
        head: (K, D) unit class embeddings.
        tau: temperature of both distributions, > 0.
    """
    log_q, log_p = ((x.double() @ head.double().T / tau).log_softmax(dim=1) for x in (z, images))
    q = log_q.exp()
    return ((q * log_q).sum(dim=1, keepdim=True) - q @ log_p.T).clamp_min(0.0).float()


def rescaled(values: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    """Return psi of the values: the line that takes the range ``old`` to ``new``, also outside of it.

    If ``old`` is empty, all values become the low end of ``new``.
    """
    return new[0] + (values - old[0]) * ((new[1] - new[0]) / (old[1] - old[0]) if old[1] > old[0] else 0.0)
