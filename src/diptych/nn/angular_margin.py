"""Softmax losses over angles, with a margin between the right class and the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def with_margin(cosines: Tensor, margin: float) -> Tensor:
    """Return a(c, m), the cosines of angles that are larger by the margin; it falls with the angle everywhere.

    Args:
        cosines: (...) in [-1, 1].
        margin: m in radians, in [0, pi / 2].

    Source: Deng et al. 2019 (ArcFace), section 2.1, with the continuation of their code past pi - m.

    Example:
        >>> with_margin(torch.tensor([1.0, 0.5, -1.0]), 0.0)
        tensor([ 1.0000,  0.5000, -1.0000])
        >>> round(with_margin(torch.tensor(1.0), 0.5).item(), 4)  # cos 0.5
        0.8776
    """
    sine = (1 - cosines.square()).clamp(min=1e-12).sqrt()
    turned = cosines * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))


def arc_loss(x: Tensor, w: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """Return L_arc, in nats; ln(1 + (C - 1) e^(-s cos m)) for images at their rows of an orthonormal matrix.

    Args:
        x: (B, D) unit embeddings.
        w: (C, D) unit rows.
        labels: (B,) class positions.
        scale: s.
        margin: m in radians.
    """
    cosines = x @ w.T
    target = F.one_hot(labels, len(w)).bool()
    return F.cross_entropy(scale * torch.where(target, with_margin(cosines, margin), cosines), labels)


def caption_loss(
    x: Tensor, t: Tensor, labels: Tensor, every_t: Tensor, every_label: Tensor, scale: float, margin: float
) -> Tensor:
    """Return L_mc, in nats; 0 for images without captions of another class in the batch.

    Args:
        x: (B, D) unit embeddings of images.
        t: (B, K, D) unit embeddings of their captions.
        labels: (B,) class positions.
        every_t: (N, K, D) captions of all processes.
        every_label: (N,) classes of all processes.
        scale: s.
        margin: m in radians.
    """
    positive = scale * with_margin(torch.einsum("bd,bkd->bk", x, t), margin)
    other = (labels[:, None] != every_label[None]).repeat_interleave(t.shape[1], 1)
    some = other.any(1)
    logits = scale * x[some] @ every_t.flatten(0, 1).T
    z = logits.masked_fill(~other[some], -math.inf).logsumexp(1, keepdim=True)
    return F.softplus(z - positive[some]).sum() / positive.numel()
