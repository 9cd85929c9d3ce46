"""Self-distillation of crops: scores of prototypes, their loss, and how a teacher collapses (DINO).

    p_g   = softmax((t_g - C) / tau_t),   q_v = softmax(s_v / tau_s)
    L_ssl = mean over (g, v), v != g, of the cross-entropy of p_g and q_v, which is H(p) + KL(p, q)

s_v, t_g: (B, K) scores of K prototypes by the student for crop v, by the teacher for crop g;  C: (K,) centre
tau_t, tau_s: temperatures;  H(p): mean entropy of the targets
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.nn.contrastive import cosines, wide


def self_distillation(
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    centre: Tensor,
    teacher_temperature: float,
    student_temperature: float,
) -> Tensor:
    """Return L_ssl, the mean cross-entropy of every student view to every teacher view of another crop.

    Args:
        students: V tensors (B, K) of scores; the first G are of the teacher's crops.
        teachers: G tensors (B, K) of scores.
        centre: C, (K,), subtracted from the teacher's scores.
        teacher_temperature: tau_t, divides the teacher's scores, > 0.
        student_temperature: tau_s, divides the student's scores, > 0.

    Source: Caron et al. 2021 (DINO), equations 2 and 3.
    """
    targets = [((t - centre) / teacher_temperature).softmax(-1) for t in teachers]
    logs = [(s / student_temperature).log_softmax(-1) for s in students]
    terms = [-(t * s).sum(-1).mean() for g, t in enumerate(targets) for v, s in enumerate(logs) if v != g]
    return torch.stack(terms).mean()


def entropy(teachers: Sequence[Tensor], centre: Tensor, teacher_temperature: float) -> Tensor:
    """Return H(p), the mean entropy of the teacher's targets: 0 where one prototype has all, ln K where all are equal.

    Args:
        teachers: G tensors (B, K) of scores.
        centre: C, (K,), subtracted from the scores.
        teacher_temperature: tau_t, divides the scores, > 0.

    Source: Caron et al. 2021 (DINO), section 5.3: H(p, q) = H(p) + KL(p | q).
    """
    logs = torch.stack([((t - centre) / teacher_temperature).log_softmax(-1) for t in teachers])
    return -(logs.exp() * logs).sum(-1).mean()


def collapse_of(scores: Tensor, centre: Tensor, teacher_temperature: float) -> tuple[str, float]:
    """Return how the targets of a batch are collapsed, "" where they are not, and the number of prototypes used.

    "one" is a mean target with less than a tenth of the entropy that B rows on K prototypes can have, so that all rows
    point to one prototype; "all" is targets with 99 % of ln K, which tell nothing apart.

    Args:
        scores: (B, K) scores of the teacher, B and K >= 2.
        centre: C, (K,), subtracted from the scores.
        teacher_temperature: tau_t, divides the scores, > 0.
    """
    targets = ((scores - centre) / teacher_temperature).softmax(-1)
    mean = targets.mean(0)
    used = float(-(mean * mean.clamp(min=1e-30).log()).sum())
    rows, prototypes = scores.shape
    kind = "one" if used < 0.1 * math.log(min(rows, prototypes)) else ""
    flat = float(entropy([scores], centre, teacher_temperature)) > 0.99 * math.log(prototypes)
    return "all" if flat else kind, math.exp(used)


class Prototypes(nn.Module):
    """The head of self-distillation: three layers, a unit bottleneck, and cosines to K unit prototypes.

    Args:
        width: of the tower's pooled vectors.
        hidden: width of the layers.
        bottleneck: width before the prototypes.
        prototypes: K.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, h: Tensor) -> Tensor:
        """Return the (B, K) scores of pooled vectors, (B, width): cosines to the prototypes."""
        return cosines(normalize(wide(self.layers(h)), dim=-1), normalize(self.prototypes, dim=-1))
