"""Geodesic multi-modal mixup: points on the great circle between an image and its caption are hard negatives for all
other pairs.

    m_l(a, b) = sin(l w) / sin(w) a + sin((1 - l) w) / sin(w) b,   w = arccos(a . b)            unit for unit a, b

    m2:  row i of the images scores  x_i . y_i  on the diagonal and  x_i . m_l(x_j, y_j)  elsewhere, divided by tau_m;
         texts likewise
    V:   m_l(x_i, x_i') against the texts, l on i and 1 - l on its partner i' = N - 1 - i          L: the same for texts
    VL:  m_l(x_i, x_i') against m_l(y_j, y_j'), 1 on i and 1 on i'

    L = CLIP's loss at tau  +  1 / (epoch + 1)  sum of weight x term

Pushing real pairs away from what lies between others fills the empty zone between the modalities. All l = 0 makes every
mixture a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core.card import Card, Needs, ProofPlan, Reference
from diptych.core.ranges import above, check
from diptych.core.train import Clock, Embedded, Objective

_EDGE = 1e-6
"""Distance of a cosine from 1 or -1 within which its angle has no digits in float32; near 1 the great circle is a
straight line there.
"""


def geodesic(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the unit vectors at ``share`` of the way from b to a, on their great circle.

    m . a = cos((1 - share) w),  m . b = cos(share w)

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
        y: (B, D) their own partners.
        mixed: (N, D) mixtures of all pairs.
        temperature: of the logits.
        first: column of the first row's own pair.
    """
    own = torch.arange(first, first + len(x), device=x.device)
    logits = x @ mixed.T
    logits = torch.where(F.one_hot(own, len(mixed)).bool(), (x * y).sum(1, keepdim=True), logits)
    return F.cross_entropy(logits / temperature, own)


def soft_rows(x: Tensor, y: Tensor, first: int, own: float, partner: float, temperature: float) -> Tensor:
    """Return the mean over B rows of -(own log p_i + partner log p_i'), with i' = N - 1 - i.

    Args:
        x: (B, D) rows.
        y: (N, D) columns.
        first: number of the first row.
        own: weight of the row's own column.
        partner: weight of its partner's.
        temperature: of the logits.
    """
    log_p = (x @ y.T / temperature).log_softmax(-1)
    i = torch.arange(first, first + len(x), device=x.device)[:, None]
    return -(own * log_p.gather(1, i) + partner * log_p.gather(1, len(y) - 1 - i)).mean()


@dataclass(frozen=True)
class GeodesicMixup(Objective):
    """Fine-tune on pairs with mixtures as hard negatives (m2-Mix), and with mixed pairs as further data (m3-Mix).

    Args:
        m2: weight of the m2 term; 0.01 of the paper's grid.
        single: weight of V and of L; 0.0 (m2-Mix), 0.05 in m3-Mix.
        joint: weight of VL; 0.0 (m2-Mix), 0.1 in m3-Mix.
        beta: l ~ Beta(beta, beta) once a batch, for m2; 0.5. The other terms draw with 0.5.
        temperature: tau, fixed.
        mixed_temperature: tau_m, fixed.
        share: l itself, for limit cases; None: drawn.
        pair: the two modalities.

    Raises:
        UsageError: a temperature or beta that is not positive.

    Source: Oh et al. 2023, section 4.

    Example:
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

    card: ClassVar[Card] = Card(
        slug="geodesic-mixup",
        name="Geodesic Multi-Modal Mixup",
        title="Geodesic Multi-Modal Mixup for Robust Fine-Tuning",
        url="https://arxiv.org/abs/2203.03897",
        year=2023,
        verb="finetune",
        claim="Contrasting pairs with points between other images and captions closes the gap between the modalities "
        "and helps retrieval.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="both towers, or heads on frozen ones; temperatures are fixed",
        reference=Reference("https://github.com/changdaeoh/multimodal-mixup", "f8e05fc", "none found"),
        differs=(
            "The example for OpenCLIP in the authors' README multiplies by the temperature of the mixtures; we "
            "divide, as the paper does.",
            "With an odd batch the middle item is mixed with itself, and the released arccos gives NaN; near vectors "
            "are mixed linearly.",
            "The direction of the one-modality terms could not be read: here the mixed side picks among the other "
            "side.",
            "VL is the mean over its two directions, half their sum; whether the authors halve it could not be read.",
            "Parameters are in training mode like every training here; the released code keeps the model in eval mode.",
        ),
        proof=ProofPlan(
            claim="The heads of lite, fine-tuned on captioned photos with mixtures as negatives, retrieve above the "
            "same training without.",
            control="With all mixtures at the text (l = 0) nothing is gained.",
            datasets=("flickr8k_small",),
            minutes=6,
        ),
        variants={"": {}, "m3": {"single": 0.05, "joint": 0.1, "beta": 0.2}},
        licence_note="The authors' repository has no licence: this file was written from the paper's equations alone.",
    )

    def __post_init__(self) -> None:
        check(self, above(0), "temperature", "mixed_temperature", "beta")

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"contrastive", "m2", ...}, scalars; terms of weight 0 are left out.

        Args:
            e: (B, D) vectors of both modalities; their scale is not used.
            heads: not used.
            clock: its epoch fades the mixtures out, its generator draws l, the same in every process.
        """
        halves = (torch.float16, torch.bfloat16)  # in which exponentials lose their digits
        x, y = (normalize(v.float() if v.dtype in halves else v, dim=-1) for v in (e.vectors[m] for m in self.pair))
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
            v, t = (geodesic(a, a.flip(0), s)[rows] for a, s in ((every_x, shares[1]), (every_y, shares[2])))
            out["v"] = fade * self.single * soft_rows(v, every_y, first, shares[1], 1 - shares[1], tau)
            out["l"] = fade * self.single * soft_rows(t, every_x, first, shares[2], 1 - shares[2], tau)
        if self.joint:
            v, t = (geodesic(a, a.flip(0), shares[3]) for a in (every_x, every_y))
            out["vl"] = (
                fade
                * self.joint
                * (soft_rows(v[rows], t, first, 1, 1, tau) + soft_rows(t[rows], v, first, 1, 1, tau))
                / 2
            )
        return out
