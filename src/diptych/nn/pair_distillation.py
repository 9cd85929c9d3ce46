"""Distillation of the similarities between the images and the texts of a batch, from one teacher or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.contrastive import cosines, wide

TEACHER_SCALE = 100.0
"""Inverse temperature of the teachers' similarities."""


def distilled(logits: Tensor, *targets: Tensor) -> Tensor:
    """Return the mean over rows of the cross-entropy of ``softmax(logits)`` to the mean of the teachers' softmaxes, in
    nats.

    It is the mean of the cross-entropies to the single teachers.

    Args:
        logits: (B, N) of the student.
        targets: (B, N) of each of K >= 1 teachers.

    Source: Vasu et al. 2024 (MobileCLIP), equation 2, up to the entropies of the teachers.

    Example:
        >>> round(distilled(torch.zeros(2, 4), torch.zeros(2, 4)).item(), 4)  # ln 4
        1.3863
    """
    mean = torch.stack([target.softmax(-1) for target in targets]).mean(0)
    return -(mean * logits.log_softmax(-1)).sum(-1).mean()


def distilled_pairs(
    e: Embedded, taught: Mapping[str, Tensor], pair: tuple[str, str], widths: Sequence[int] = ()
) -> Tensor:
    """Return the mean of ``distilled`` in both directions; the columns are those of all processes.

    Args:
        e: (B, D) vectors of both views, and their scale.
        taught: view -> (B, D') vectors of the teachers, side by side.
        pair: the two views.
        widths: sizes of the teachers' vectors, whose sum is D'; (): there is one teacher.
    """
    x, y = (normalize(wide(e.vectors[m]), dim=-1) for m in pair)
    scale = e.scale(*pair)[0]
    split = list(widths) or [taught[pair[0]].shape[-1]]
    p, q = ([normalize(wide(part), dim=-1) for part in torch.split(taught[m], split, -1)] for m in pair)
    seen, read = ([e.gather(part) for part in parts] for parts in (p, q))
    there = distilled(
        cosines(x, e.gather(y), scale), *(cosines(a, b, TEACHER_SCALE) for a, b in zip(p, read, strict=True))
    )
    back = distilled(
        cosines(y, e.gather(x), scale), *(cosines(b, a, TEACHER_SCALE) for a, b in zip(seen, q, strict=True))
    )
    return (there + back) / 2
