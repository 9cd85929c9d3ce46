"""Geodesic multi-modal mixup fine-tunes with points between an image and its caption as negatives for other pairs.

    m_l(a, b) = sin(l w) / sin(w) a + sin((1 - l) w) / sin(w) b
    m2        = CE of the rows  x_i . y_i at column i,  x_i . m_l(x_j, y_j) at columns j != i,  all divided by tau_m;
                plus the same with images and texts exchanged
    V         = - mean over i of [ l log p_ii + (1 - l) log p_ii' ],   p = softmax of m_l(x_i, x_i') . y_j / tau;
                averaged over its two directions
    L         = V with images and texts exchanged
    VL        = - mean over i of [ log p_ii + log p_ii' ],   p = softmax of m_l(x_i, x_i') . m_l(y_j, y_j') / tau;
                averaged over its two directions
    loss      = CLIP's loss at tau + 1 / (epoch + 1) sum over the four terms of weight times term

x, y: (N, D) unit embeddings of N images and of their captions
m_l(a, b): (D,) unit vector on the great circle from b (l = 0) to a (l = 1), for unit a and b
w: arccos(a . b), the angle between a and b
l: share in [0, 1], drawn once per batch for each term
i': N - 1 - i, the partner of pair i
CE: mean cross-entropy of the rows, whose right column is on the diagonal
tau, tau_m: fixed temperatures

Negatives between image and caption push real pairs into the empty region between the modalities. With l = 0 every
mixture in m2 is a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core import Clock, Embedded, Objective
from diptych.core.ranges import above, at_least, between, check
from diptych.nn.contrastive import cosines, wide

_EDGE = 1e-6
"""Cosines nearer than this to 1 or -1 have no exact angle in float32; near 1 the mixture is linear instead."""


def geodesic(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return m_l(a, b), the unit vectors at ``share`` of the way from b to a on their great circle.

    The result m has the cosines m . a = cos((1 - share) w) and m . b = cos(share w).

    Args:
        a: (..., D) unit.
        b: (..., D) unit.
        share: l in [0, 1]; 1 is a, 0 is b.

    Source: Oh et al. 2023, section 4 (geodesic multi-modal mixup).
    """
    cosine = (a * b).sum(-1, keepdim=True)
    angle = cosine.clamp(-1 + _EDGE, 1 - _EDGE).arccos()
    curved = (torch.sin(share * angle) * a + torch.sin((1 - share) * angle) * b) / torch.sin(angle)
    return normalize(torch.where(cosine > 1 - _EDGE, share * a + (1 - share) * b, curved), dim=-1)


def m2_rows(x: Tensor, y: Tensor, mixed: Tensor, temperature: float, first: int = 0) -> Tensor:
    """Return the mean cross-entropy of B rows whose negatives are mixtures of the other pairs.

    Args:
        x: (B, D) unit anchors.
        y: (B, D) unit embeddings that belong to them.
        mixed: (N, D) mixtures of all pairs.
        temperature: tau_m, divides the logits.
        first: column of the first row's pair.
    """
    positives = torch.arange(first, first + len(x), device=x.device)
    logits = cosines(x, mixed)
    logits = torch.where(F.one_hot(positives, len(mixed)).bool(), (x * y).sum(1, keepdim=True), logits)
    return F.cross_entropy(logits / temperature, positives)


def soft_rows(x: Tensor, y: Tensor, first: int, positive: float, partner: float, temperature: float) -> Tensor:
    """Return the mean over B rows of -(positive log p_i + partner log p_i'), with i' = N - 1 - i.

    Args:
        x: (B, D) rows.
        y: (N, D) columns.
        first: number i of the first row.
        positive: weight of column i.
        partner: weight of column i'.
        temperature: tau, divides the logits.
    """
    log_p = (cosines(x, y) / temperature).log_softmax(-1)
    i = torch.arange(first, first + len(x), device=x.device)[:, None]
    return -(positive * log_p.gather(1, i) + partner * log_p.gather(1, len(y) - 1 - i)).mean()


@dataclass(frozen=True)
class GeodesicMixup(Objective):
    """Fine-tune on pairs with mixtures as hard negatives (m2-Mix), and with mixed pairs as further data (m3-Mix).

    Use it for retrieval on small sets of pairs, where CLIP's loss keeps images and texts in separate regions.

    Args:
        m2: weight of the m2 term, >= 0; 0.01 (from the paper's grid).
        single: weight of V and of L, >= 0; 0.0 for m2-Mix, the paper's 0.05 for m3-Mix.
        joint: weight of VL, >= 0; 0.0 for m2-Mix, the paper's 0.1 for m3-Mix.
        beta: l ~ Beta(beta, beta) for m2, > 0; 0.5. The other terms draw with 0.5.
        temperature: tau, > 0; 0.01.
        mixed_temperature: tau_m, > 0; 0.07.
        share: l of all terms, in [0, 1]; None (default) draws it. 0 and 1 are limit cases.
        pair: the two modalities; ("image", "text").

    Raises:
        UsageError: a number is out of its range.

    Source: Oh et al. 2023, section 4.

    Example:
        Half-way between two orthogonal unit vectors, and the loss of two pairs with such negatives:

        >>> a, b = torch.eye(2)
        >>> geodesic(a, b, 0.5)
        tensor([0.7071, 0.7071])
        >>> x, y = torch.eye(2, 3), torch.eye(2, 3)
        >>> round(m2_rows(x, y, geodesic(x, y, 0.5), temperature=0.07).item(), 4)
        0.0
        >>> GeodesicMixup(**GeodesicMixup.card.variants["m3"]).joint
        0.1
    """

    m2: float = 0.01
    single: float = 0.0
    joint: float = 0.0
    beta: float = 0.5
    temperature: float = 0.01
    mixed_temperature: float = 0.07
    share: float | None = None
    pair: tuple[str, str] = ("image", "text")

    def __post_init__(self) -> None:
        check(self, above(0), "temperature", "mixed_temperature", "beta")
        check(self, at_least(0), "m2", "single", "joint")
        check(self, between(0, 1), "share")

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms "contrastive", "m2", "v", "l" and "vl"; those of weight 0 are left out.

        Args:
            e: (B, D) vectors of both modalities; their scale is not used.
            heads: not used.
            clock: its epoch reduces the weights; its generator draws l, with the same values in every process.
        """
        x, y = (normalize(wide(e.vectors[m]), dim=-1) for m in self.pair)
        every_x, every_y, first = e.gather(x), e.gather(y), e.rank * len(x)
        tau, fade = self.temperature, 1 / (clock.epoch + 1)
        out = {"contrastive": (soft_rows(x, every_y, first, 1, 0, tau) + soft_rows(y, every_x, first, 1, 0, tau)) / 2}
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=clock.generator)))
        shares = [float(draw.beta(b, b)) if self.share is None else self.share for b in (self.beta, 0.5, 0.5, 0.5)]
        if self.m2:
            mixed = geodesic(every_x, every_y, shares[0])
            both = m2_rows(x, y, mixed, self.mixed_temperature, first) + m2_rows(
                y, x, mixed, self.mixed_temperature, first
            )
            out["m2"] = fade * self.m2 * both
        rows = slice(first, first + len(x))
        if self.single:
            sides = (("v", every_x, y, every_y, shares[1]), ("l", every_y, x, every_x, shares[2]))
            for name, every_a, b, every_b, share in sides:
                mixed = geodesic(every_a, every_a.flip(0), share)
                both = soft_rows(mixed[rows], every_b, first, share, 1 - share, tau)
                both = both + soft_rows(b, mixed, first, share, 1 - share, tau)
                out[name] = fade * self.single * both / 2
        if self.joint:
            v, t = (geodesic(a, a.flip(0), shares[3]) for a in (every_x, every_y))
            out["vl"] = (
                fade
                * self.joint
                * (soft_rows(v[rows], t, first, 1, 1, tau) + soft_rows(t[rows], v, first, 1, 1, tau))
                / 2
            )
        return out
