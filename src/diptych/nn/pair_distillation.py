"""Distillation of the similarities between the images and the texts of a batch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.contrastive import cosines, wide

TEACHER_SCALE = 100.0
"""Inverse temperature of the teacher's similarities."""


def distilled(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of the cross-entropy of ``softmax(logits)`` to ``softmax(targets)``, in nats.

    Args:
        logits: (B, N) of the student.
        targets: (B, N) of the teacher.

    Source: Vasu et al. 2024 (MobileCLIP), equation 2, with one teacher.

    Example:
        >>> import torch
        >>> round(distilled(torch.zeros(2, 4), torch.zeros(2, 4)).item(), 4)  # ln 4
        1.3863
    """
    return -(targets.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()


def distilled_pairs(e: Embedded, taught: Mapping[str, Tensor], pair: tuple[str, str]) -> Tensor:
    """Return the mean of ``distilled`` in both directions; the columns are those of all processes.

    Args:
        e: (B, D) vectors of both views, and their scale.
        taught: view -> (B, D') unit vectors of the teacher.
        pair: the two views.
    """
    (x, y), (p, q) = (normalize(wide(e.vectors[m]), dim=-1) for m in pair), (wide(taught[m]) for m in pair)
    scale = e.scale(*pair)[0]
    there = distilled(cosines(x, e.gather(y), scale), cosines(p, e.gather(q), TEACHER_SCALE))
    return (there + distilled(cosines(y, e.gather(x), scale), cosines(q, e.gather(p), TEACHER_SCALE))) / 2
