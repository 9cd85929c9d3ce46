"""CLOOB: every embedding is first looked up in a memory of the batch; what is found is compared, without the positive
below the line.

    R(q; M) = unit( softmax(beta q M^T) M )                                     one step of a modern Hopfield network
    U_x = R(X; X),  U_y = R(Y; X)      both from the images;      V_y = R(Y; Y),  V_x = R(X; Y)      both from the texts
    LOOB(a, b) = -1/N sum_i a_i . b_i + tau 1/N sum_i ln sum_{j != i} exp(a_i . b_j / tau)
    L = LOOB(U_x, U_y) + LOOB(V_y, V_x)

X, Y are the (N, D) unit embeddings of the whole batch, which is the memory: the value depends on N. Negative values are
normal. With beta = 0 every look-up is the same vector, the loss is the constant 2 tau ln(N - 1), and nothing learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.errors import UsageError
from diptych.core.ranges import above, at_least, check
from diptych.core.train import Clock, Embedded, Objective


def retrieve(queries: Tensor, memory: Tensor, beta: float) -> Tensor:
    """Return what each query finds: (B, D) unit vectors.

    Args:
        queries: (B, D) unit.
        memory: (N, D) unit; gradients flow through both.
        beta: inverse temperature; 0 finds the mean of the memory, infinity the nearest entry.

    Source: Fürst et al. 2022, equation 5; Ramsauer et al. 2021 (one step, one head, no projection).
    """
    return normalize((beta * queries @ memory.T).softmax(-1) @ memory, dim=-1)


def info_loob(a: Tensor, b: Tensor, temperature: float, first: int = 0) -> Tensor:
    """Return the leave-one-out bound of B anchors among N columns.

    Args:
        a: (B, D) unit anchors.
        b: (N, D) unit columns, N at least 2.
        temperature: tau.
        first: column of the first anchor's partner.

    Source: Fürst et al. 2022, equation 2, times tau as released.
    """
    cosines = a @ b.T
    own = torch.zeros_like(cosines, dtype=torch.bool)
    own[torch.arange(len(a)), torch.arange(first, first + len(a))] = True
    others = (cosines / temperature).masked_fill(own, -torch.inf).logsumexp(-1)
    return temperature * others.mean() - cosines[own].mean()


@dataclass(frozen=True)
class CLOOB(Objective):
    """Compare what pairs recall instead of what they are, by a loss that never saturates.

    It over-fits sooner than CLIP's loss where data are few: watch a val split (patience), and sweep tau and beta there.

    Args:
        inverse_temperature: 1 / tau, fixed; 30.0, of the published CC3M command (the code's default is 14.3).
        beta: of the look-up; 8.0, of the same command (the code's default is 14.3). None: no look-up, InfoLOOB alone.
        pair: the two modalities.

    Raises:
        UsageError: an inverse temperature that is not positive, or a negative beta.

    Source: Fürst et al. 2022, algorithm 1.

    Example:
        >>> CLOOB().beta
        8.0
    """

    inverse_temperature: float = 30.0
    beta: float | None = 8.0
    pair: tuple[str, str] = ("image", "text")

    card: ClassVar[Card] = Card(
        slug="cloob",
        name="CLOOB",
        title="CLOOB: Modern Hopfield Networks with InfoLOOB Outperform CLIP",
        url="https://arxiv.org/abs/2110.11316",
        year=2022,
        verb="pretrain",
        claim="Look-ups in a memory of the batch enrich the covariance of embeddings, and leaving the positive out "
        "keeps gradients alive.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="both towers; tau is fixed",
        headlines=(
            Headline(
                "ImageNet",
                "ViT-B/16, LAION-400M, 16 epochs",
                "zero-shot top-1",
                61.24,
                "",
                "readme of crowsonkb/cloob-training",
            ),
        ),
        reference=Reference("https://github.com/ml-jku/cloob", "", "MIT"),
        differs=(
            "The released gather over processes carries no gradient, which divides it by their number; here it does.",
            "The positive is masked with minus infinity; the released -1000 fails for inverse temperatures above 100.",
            "tau can't be learnt here: where the released code learns it, weight decay pulls at it by a slip of names.",
        ),
        proof=ProofPlan(
            claim="On held-out photos and captions the embeddings have a higher effective rank than those of clip-loss "
            "at equal steps;"
            " recall is reported as it falls.",
            control="With beta = 0 nothing learns: recall stays at chance.",
            datasets=("flickr8k_small",),
            minutes=5,
        ),
        variants={"": {}, "loob": {"beta": None}},
    )

    def __post_init__(self) -> None:
        check(self, above(0), "inverse_temperature")
        check(self, at_least(0), "beta")

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"images", "texts"}: the bound in the image memory and in the text memory.

        Args:
            e: (B, D) vectors of both modalities; their scale is not used.
            heads: not used.
            clock: not used.

        Raises:
            UsageError: the batch is one pair, which has no negatives.
        """
        halves = (torch.float16, torch.bfloat16)  # in which exponentials lose their digits
        with torch.autocast(e.vectors[self.pair[0]].device.type, enabled=False):
            x, y = (normalize(v.float() if v.dtype in halves else v, dim=-1) for v in (e.vectors[m] for m in self.pair))
            every_x, every_y, rows = e.gather(x), e.gather(y), slice(e.rank * len(x), (e.rank + 1) * len(x))
            if len(every_x) < 2:
                raise UsageError("CLOOB needs at least two pairs in a batch: one pair has no negatives.")
            tau = 1 / self.inverse_temperature
            if self.beta is None:
                return {
                    "images": info_loob(x, every_y, tau, rows.start),
                    "texts": info_loob(y, every_x, tau, rows.start),
                }
            u_x, u_y = retrieve(every_x, every_x, self.beta), retrieve(every_y, every_x, self.beta)
            v_y, v_x = retrieve(every_y, every_y, self.beta), retrieve(every_x, every_y, self.beta)
            return {
                "images": info_loob(u_x[rows], u_y, tau, rows.start),
                "texts": info_loob(v_y[rows], v_x, tau, rows.start),
            }
