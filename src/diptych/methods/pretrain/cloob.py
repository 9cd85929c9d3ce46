"""CLOOB replaces each embedding by a weighted mean of the batch, and compares pairs by the InfoLOOB loss.

    R(q; M)    = normalise( softmax(beta q M^T) M )
    U_x        = R(X; X),   U_y = R(Y; X)
    V_y        = R(Y; Y),   V_x = R(X; Y)
    LOOB(a, b) = - 1/N sum over i of a_i . b_i + tau/N sum over i of ln sum over j != i of exp(a_i . b_j / tau)
    L          = LOOB(U_x, U_y) + LOOB(V_y, V_x)

X, Y: (N, D) unit embeddings of the images and the captions of the batch
R(q; M): (N, D) retrievals: for each query q a mean of the memory M, weighted by similarity (a modern Hopfield network)
U: retrievals from the images;  V: retrievals from the captions
beta: inverse temperature of the retrieval
LOOB: the InfoLOOB loss of pairs (a_i, b_i)
tau: its temperature, fixed

The sum over j leaves the positive pair out, which CLIP's loss does not. The loss depends on N, since the batch is the
memory; negative values are normal. With beta = 0 all retrievals are equal, the loss is 2 tau ln(N - 1), and there is no
gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Clock, Embedded, Objective, UsageError
from diptych.core.ranges import above, at_least, check


def retrieve(queries: Tensor, memory: Tensor, beta: float) -> Tensor:
    """Return the retrieval of each query from a memory, (B, D) unit vectors; both receive gradients.

    Args:
        queries: (B, D) unit.
        memory: (N, D) unit.
        beta: inverse temperature, >= 0; 0 retrieves the mean of the memory, a large one the nearest entry.

    Source: Fürst et al. 2022, equation 5; Ramsauer et al. 2021 (one step, one head, no projection).
    """
    return normalize((beta * queries @ memory.T).softmax(-1) @ memory, dim=-1)


def info_loob(a: Tensor, b: Tensor, temperature: float, first: int = 0) -> Tensor:
    """Return LOOB, the InfoLOOB loss, of B anchors among N columns.

    Args:
        a: (B, D) unit anchors.
        b: (N, D) unit columns, N at least 2.
        temperature: tau, > 0.
        first: column of the first anchor's positive.

    Source: Fürst et al. 2022, equation 2, multiplied by tau as in the released code.
    """
    cosines = a @ b.T
    positives = torch.zeros_like(cosines, dtype=torch.bool)
    positives[torch.arange(len(a)), torch.arange(first, first + len(a))] = True
    negatives = (cosines / temperature).masked_fill(positives, -torch.inf).logsumexp(-1)
    return temperature * negatives.mean() - cosines[positives].mean()


@dataclass(frozen=True)
class CLOOB(Objective):
    """Match the retrievals of pairs, by a loss whose gradient does not vanish for good matches.

    Use it where embeddings should have a rich covariance. On few data it over-fits sooner than CLIPLoss: stop early on
    a val split (``patience``), and choose tau and beta there.

    Args:
        inverse_temperature: 1 / tau, > 0; 30.0 (the authors' CC3M command; the default of their code is 14.3).
        beta: >= 0; 8.0 (the same command; the default of their code is 14.3). None compares the embeddings themselves.
        pair: the two modalities; ("image", "text").

    Raises:
        UsageError: the inverse temperature is not positive, or beta is negative.

    Source: Fürst et al. 2022, algorithm 1.

    Example:
        >>> x = torch.eye(4)
        >>> u = retrieve(x, x, beta=8.0)
        >>> round(info_loob(u, u, temperature=1 / 30).item(), 3)
        -0.963
        >>> equal = retrieve(x, x, beta=0.0)
        >>> round(info_loob(equal, equal, temperature=1 / 30).item(), 3)  # tau ln(N - 1)
        0.037
    """

    inverse_temperature: float = 30.0
    beta: float | None = 8.0
    pair: tuple[str, str] = ("image", "text")

    def __post_init__(self) -> None:
        check(self, above(0), "inverse_temperature")
        check(self, at_least(0), "beta")

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return the two losses: "images", with the images as memory, and "texts", with the captions as memory.

        Args:
            e: (B, D) vectors of both modalities; their scale is not used.
            heads: not used.
            clock: not used.

        Raises:
            UsageError: the batch has one pair, and so no negatives.
        """
        halves = (torch.float16, torch.bfloat16)  # in which exponentials lose their digits
        with torch.autocast(e.vectors[self.pair[0]].device.type, enabled=False):
            x, y = (normalize(v.float() if v.dtype in halves else v, dim=-1) for v in (e.vectors[m] for m in self.pair))
            every_x, every_y, rows = e.gather(x), e.gather(y), slice(e.rank * len(x), (e.rank + 1) * len(x))
            if len(every_x) < 2:
                raise UsageError(f"CLOOB needs at least two pairs in a batch, got {len(every_x)}: give a larger batch.")
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
