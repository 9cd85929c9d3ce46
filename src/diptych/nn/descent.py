"""Steps of gradient descent for one matrix whose gradient is written down.

For a head of some thousand numbers the bookkeeping of autograd and ``torch.optim`` takes as long as its products. The
steps here are those of ``torch.optim``, operation by operation, without it; importing it imports torch's compiler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diptych.core import Backbone
from diptych.features.heads import logits


@dataclass
class Momentum:
    """Stochastic gradient descent with momentum.

    Args:
        at: what is moved, in place.
        momentum: share of the last step's velocity that is kept, in [0, 1).
    """

    at: Tensor
    momentum: float
    velocity: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.velocity = torch.zeros_like(self.at)

    def step(self, slope: Tensor, rate: float) -> None:
        """Take one step.

        Args:
            slope: gradient, shaped as ``at``.
            rate: of this step.
        """
        self.at.sub_(self.velocity.mul_(self.momentum).add_(slope), alpha=rate)


@dataclass
class Adam:
    """Adam, and with a decay AdamW, with torch's betas 0.9 and 0.999.

    Args:
        at: what is moved, in place.
        epsilon: term of the denominator.
        decay: share of ``at`` that a step of rate 1 takes away, >= 0.

    Attributes:
        mean: first moment, shaped as ``at``.
        square: second moment.

    Source: Kingma and Ba 2015; Loshchilov and Hutter 2019.

    Example:
        >>> import torch
        >>> at = torch.tensor([1.0, 1.0])
        >>> Adam(at).step(torch.tensor([0.3, -2.0]), rate=0.1)  # the first step is as long for any gradient
        >>> at
        tensor([0.9000, 1.1000])
    """

    at: Tensor
    epsilon: float = 1e-8
    decay: float = 0.0
    mean: Tensor = field(init=False)
    square: Tensor = field(init=False)
    steps: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = torch.zeros_like(self.at), torch.zeros_like(self.at)

    def step(self, slope: Tensor, rate: float) -> None:
        """Take one step.

        Args:
            slope: gradient, shaped as ``at``.
            rate: of this step.
        """
        self.steps += 1
        if self.decay:
            self.at.mul_(1 - rate * self.decay)
        self.mean.lerp_(slope, 1 - 0.9)
        self.square.mul_(0.999).addcmul_(slope, slope, value=1 - 0.999)
        length = self.square.sqrt().div_(math.sqrt(1 - 0.999**self.steps)).add_(self.epsilon)
        self.at.addcdiv_(self.mean, length, value=-rate / (1 - 0.9**self.steps))


def along_cosine(rate: float, step: int, steps: int) -> float:
    """Return the rate of a step, from 0, that falls from ``rate`` to 0 after ``steps`` along half a cosine."""
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


def entropy_slope(values: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy in its logits.

    Args:
        values: (N, K) logits.
        y: (N,) class positions.

    Returns:
        (N, K), whose rows sum to 0.

    Example:
        >>> import torch
        >>> entropy_slope(torch.zeros(2, 2), torch.tensor([0, 1]))
        tensor([[-0.2500,  0.2500],
                [ 0.2500, -0.2500]])
    """
    slope = values.softmax(dim=1)
    slope[torch.arange(len(y), device=y.device), y] -= 1
    return slope.div_(len(y))


def cosine_slope(backbone: Backbone, x: Tensor, head: Tensor, y: Tensor) -> Tensor:
    """Return the (N, K) gradient of the mean cross-entropy of ``features.heads.logits`` in the cosines x w^T.

    Args:
        backbone: the backbone with the scale.
        x: (N, D) unit embeddings.
        head: (K, D) unit class vectors.
        y: (N,) class positions.
    """
    return entropy_slope(logits(backbone, x, head), y).mul_(backbone.scale("image", "text")[0].detach().to(x))


def unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, D) rows of length 1, as ``torch.nn.functional.normalize`` does, and their (N, 1) lengths."""
    lengths = rows.norm(dim=1, keepdim=True).clamp_min_(1e-12)
    return rows / lengths, lengths


def unit_slope(slope: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    """Return the gradient in rows of the gradient in the same rows with length 1; ``slope`` is overwritten.

    Args:
        slope: (N, D) gradient in the unit rows.
        rows: (N, D) unit rows.
        lengths: (N, 1) of the rows before.

    Example:
        >>> import torch
        >>> rows, lengths = unit(torch.tensor([[0.0, 2.0]]))
        >>> unit_slope(torch.tensor([[1.0, 1.0]]), rows, lengths)  # what only makes it longer changes nothing
        tensor([[0.5000, 0.0000]])
    """
    along = (slope * rows).sum(dim=1, keepdim=True)
    return slope.addcmul_(rows, along, value=-1).div_(lengths)
