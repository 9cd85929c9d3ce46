"""TransCLIP classifies photos together: one Gaussian per class, neighbours that agree, and the text that holds them.

    z_i   proportional to  q_i^kl exp( l_i / 50  +  1 / (2 k) (sum over j of (W_ij + W_ji) z_j) )      five times
    mu_k  = normalise( sum over i of z_ik x_i / N  +  gamma sum over the shots x of class k of x / M )
    v     = ( sum over i, k of z_ik (x_i - mu_k)^2 / N  +  gamma sum over the shots of (x - mu_y)^2 / M ) / (1 + gamma)
    l_ik  = -1/2 sum over d of (x_id - mu_kd)^2 / v_d

The three are repeated ten times, and z is taken once more. z of a shot is its label.

Sizes: N photos without labels, M shots (labelled images; 0 of them is zero-shot), K classes, D dimensions
x: (N, D) and (M, D) unit embeddings;  y: class positions of the shots
q: (N, K) probabilities that the text gives the photos;  z: (N, K) probabilities of TransCLIP
W: cosines of each photo, and of each shot, with the k photos nearest to it, else 0
mu, v: (K, D) and (D,), means and one variance for all classes;  v starts at 1 / D
kl: weight of the text, 1 without shots and 0.5 with some;  gamma: weight of the shots

A photo of another call is classified by the first line alone, once, with the k photos nearest to it for its row of W,
so that its answer does not depend on those beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    MissingEvidence,
    Run,
    Samples,
    Scores,
)
from diptych.core.ranges import above, at_least, check
from diptych.data.evidence import held_out, shots
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.mixing import CELLS, first_best

GAMMAS = (0.1, 0.5, 1.0, 10.0)
"""Values of gamma that are tried on val."""
INNER, CONFIDENT = 5, 8
"""Steps of z in one pass, and photos that make the first mean of a class without shots."""
SAME = 1 - 1e-6
"""Cosine from which a photo is one of those that were fitted."""


def nearest(x: Tensor, photos: Tensor, k: int, *, others: bool) -> tuple[Tensor, Tensor]:
    """Return positions (R, k) and cosines (R, k) of the k nearest photos of each row, in bounded memory.

    Args:
        x: (R, D) unit embeddings.
        photos: (N, D) unit embeddings.
        k: neighbours; fewer where there are fewer photos.
        others: x are the photos themselves, and none is a neighbour of its own.
    """
    k = max(0, min(k, len(photos) - others))
    rows = max(1, CELLS // max(1, len(photos)))
    at, near = [torch.zeros(0, k, dtype=torch.int64)], [x.new_zeros(0, k)]
    for start in range(0, len(x), rows):
        cosines = x[start : start + rows] @ photos.T
        if others:
            cosines[torch.arange(len(cosines)), torch.arange(start, start + len(cosines))] = -torch.inf
        best = cosines.topk(k, dim=1)
        at.append(best.indices)
        near.append(best.values)
    return torch.cat(at), torch.cat(near)


def agreement(z: Tensor, at: Tensor, near: Tensor, photos: int) -> Tensor:
    """Return the (N, K) mean of what the neighbours of each photo say, and those whose neighbour it is.

    Args:
        z: (N + M, K) probabilities, those of shots last.
        at: (N + M, k) positions of neighbours among the photos.
        near: (N + M, k) cosines.
        photos: N.
    """
    out = (near[:photos, :, None] * z[at[:photos]]).sum(dim=1)
    back = (near[:, :, None] * z[:, None]).flatten(0, 1)
    return (out.index_add(0, at.flatten(), back)) / (2 * max(1, at.shape[1]))


def density(x: Tensor, means: Tensor, variance: Tensor) -> Tensor:
    """Return (N, K) logarithms of Gaussians, up to what all classes share.

    Args:
        x: (N, D).
        means: (K, D).
        variance: (D,), > 0.
    """
    precise = means / variance
    return x @ precise.T - 0.5 * (means * precise).sum(dim=1) - 0.5 * (x.square() @ (1 / variance))[:, None]


def means_of(x: Tensor, z: Tensor) -> Tensor:
    """Return the (K, D) sums of the rows of (N, D) embeddings, weighted by (N, K), divided by the sums of weights."""
    return (z.T @ x) / z.sum(dim=0).clamp_min(torch.finfo(z.dtype).tiny)[:, None]


def variance_of(x: Tensor, z: Tensor, means: Tensor) -> Tensor:
    """Return (D,): the mean squared distance of the rows of (N, D) from (K, D) means, weighted by (N, K)."""
    total = z.sum(dim=1) @ x.square() - 2 * (means * (z.T @ x)).sum(dim=0) + z.sum(dim=0) @ means.square()
    return (total / z.sum()).clamp_min(1e-12)


@dataclass(frozen=True)
class TransCLIP(Classifier):
    """Classify photos without labels together, with the shots if there are any.

    Use it where many photos of the same classes wait for an answer. It takes about as many photos of each class for
    granted, as the paper's data sets have.

    Args:
        kl: weight of the text, >= 0. None: 1 without shots, 0.5 with some, as the authors have it.
        gamma: weight of the shots, >= 0. None: chosen on val from 0.1, 0.5, 1 and 10, where there are shots.
        neighbours: k, >= 0 (default 3, the authors'); 0 leaves W out.
        iterations: passes, >= 0 (default 10, the authors').
        temper: divides the logarithm of the Gaussians, > 0 (default 50, that of the authors' code).
        spherical: one variance for all coordinates, the mean of v (default False, the authors' form). Ours, for
            backbones such as ``lite``, most of whose coordinates hardly vary.

    Raises:
        UsageError: a parameter is below its least value.

    Source: Zanella et al. 2024, section 3 (objective, block updates); temper, the first means and the steps of z are
        from its code.

    Example:
        >>> import torch
        >>> z = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])  # three photos in a row, each beside the next
        >>> at, near = torch.tensor([[1], [0], [1]]), torch.ones(3, 1)
        >>> agreement(z, at, near, photos=3)[1]  # the second: its neighbour, and both whose neighbour it is
        tensor([0.9500, 0.5500])
    """

    kl: float | None = None
    gamma: float | None = None
    neighbours: int = 3
    iterations: int = 10
    temper: float = 50.0
    spherical: bool = False

    def __post_init__(self) -> None:
        check(self, at_least(0), "kl", "gamma", "neighbours", "iterations")
        check(self, above(0), "temper")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedTransCLIP:
        """Classify the photos without labels; train and val are read where train is given.

        Raises:
            MissingEvidence: there is no photo without a label, or train is given, gamma is not, and val is missing.
            DataError: train lacks a class, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        if evidence.unlabelled is None or not len(evidence.unlabelled):
            raise MissingEvidence("TransCLIP classifies photos together, and {unlabelled} is missing: give some.")
        few = shots(evidence, classes) if evidence.train is not None else None
        val = held_out(evidence, classes, choosing="gamma") if few and self.gamma is None else None
        head = text_head(backbone, classes.prompts(), run)

        def unit(items: Samples[Any]) -> Tensor:
            return normalize(embed(backbone.image, items, run), dim=-1)

        x, y = unit(evidence.unlabelled), torch.tensor(few[1] if few else [], dtype=torch.int64)
        shot, prior = unit(few[0].items) if few else x[:0], logits(backbone, x, head).log_softmax(dim=1)
        gammas = (GAMMAS if self.gamma is None else (self.gamma,)) if few else (0.0,)
        graph = self.graph(x, shot, run)
        kl = (0.5 if few else 1.0) if self.kl is None else self.kl
        solved = [self._solved(x, shot, one_hot(y, len(classes)).to(x), prior, graph, kl, gamma) for gamma in gammas]
        best = 0
        if val is not None:
            at = nearest(unit(val[0].items), x, 1, others=False)[0][:, 0]
            right = [(z.argmax(dim=1)[at] == torch.tensor(val[1])).sum() for z, _, _ in solved]
            (best,) = first_best(torch.stack(right))
        return FittedTransCLIP(classes, backbone, self, head, x, *solved[best], kl, gammas[best])

    def graph(self, x: Tensor, shot: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Return positions and cosines (N + M, k) of the photos nearest to photos (N, D) and shots (M, D)."""
        pairs = [nearest(x, x, self.neighbours, others=True), nearest(shot, x, self.neighbours, others=False)]
        least = min(at.shape[1] for at, _ in pairs)
        return torch.cat([at[:, :least] for at, _ in pairs]), torch.cat([near[:, :least] for _, near in pairs])

    def _solved(
        self, x: Tensor, shot: Tensor, labels: Tensor, prior: Tensor, graph: tuple[Tensor, Tensor], kl: float,
        gamma: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return log z (N, K), mu (K, D) and v (D,) of the (M, K) labels of the shots and the (N, K) log q."""
        log_z, variance = prior, torch.full_like(x[0], 1 / x.shape[1])
        if len(shot):
            means = means_of(shot, labels)
        else:
            weight, at = prior.exp().topk(min(CONFIDENT, len(x)), dim=0)
            means = torch.stack([means_of(x[at[:, k]], weight[:, k : k + 1])[0] for k in range(prior.shape[1])])
        means = normalize(means, dim=1)
        for step in range(self.iterations + 1):
            alone = kl * prior + density(x, means, variance) / self.temper
            for _ in range(INNER):
                together = agreement(torch.cat([log_z.exp(), labels]), *graph, len(x))
                log_z = (alone + together).log_softmax(dim=1)
            if step == self.iterations:
                break
            z = torch.cat([log_z.exp() / len(x), labels * (gamma / max(1, len(shot)))])
            both = torch.cat([x, shot])
            means = normalize(means_of(both, z), dim=1)
            variance = variance_of(both, z, means)
            variance = variance.mean().expand_as(variance) if self.spherical else variance
        return log_z, means, variance


@dataclass(frozen=True)
class FittedTransCLIP(FittedClassifier):
    """The photos that were classified together, and what classifies others.

    Args:
        method: the settings.
        head: (K, D) unit class embeddings.
        photos: (N, D) unit embeddings of the photos.
        log_z: (N, K) logarithms of their probabilities.
        means: (K, D), mu.
        variance: (D,), v.
        kl: weight of the text that was used.
        gamma: weight of the shots that was used; 0 without shots.
    """

    classes: ClassNames
    backbone: Backbone
    method: TransCLIP
    head: Tensor
    photos: Tensor
    log_z: Tensor
    means: Tensor
    variance: Tensor
    kl: float
    gamma: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logarithms of probabilities: those of the fit for its photos, and new ones for others."""
        x = normalize(embed(self.backbone.image, items, run), dim=-1)
        prior = logits(self.backbone, x, self.head).log_softmax(dim=1)
        at, near = nearest(x, self.photos, self.method.neighbours, others=False)
        beside = (near[:, :, None] * self.log_z[at].exp()).sum(dim=1) / max(1, at.shape[1])
        alone = self.kl * prior + density(x, self.means, self.variance) / self.method.temper
        first, close = nearest(x, self.photos, 1, others=False)
        known = close[:, 0] > SAME
        values = torch.where(known[:, None], self.log_z[first[:, 0]], (alone + beside).log_softmax(dim=1))
        return Scores(values, "log_prob")
