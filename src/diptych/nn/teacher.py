"""A teacher whose weights are the exponential moving average of its student's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def follow(teacher: Iterable[Tensor], student: Iterable[Tensor], momentum: float) -> None:
    """Move the teacher's tensors towards the student's: t <- momentum t + (1 - momentum) s. Modified in place.

    Source: Tarvainen and Valpola 2017 (mean teacher).
    """
    for t, s in zip(teacher, student, strict=True):
        if t.is_floating_point():
            t.lerp_(s.detach().to(t), 1 - momentum)
        else:
            t.copy_(s)  # counters, such as the batches that a BatchNorm has seen


def cosine_momentum(start: float, step: int, steps: int) -> float:
    """Return the momentum that rises from ``start`` to 1 along half a cosine.

    Source: Grill et al. 2020 (BYOL).

    Example:
        >>> [round(cosine_momentum(0.9, step, steps=2), 3) for step in (0, 1, 2)]
        [0.9, 0.95, 1.0]
    """
    return 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2


class Teacher(nn.Module):
    """A frozen copy of a student. It always stays in eval mode, and takes no gradient.

    Args:
        student: the module to copy and to follow.
        copied: whether the tensor of this name is always the student's, instead of an average; None: none is.
    """

    def __init__(self, student: nn.Module, copied: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        infinite = {name for name, buffer in student.named_buffers() if not buffer.isfinite().all()}
        # A causal mask holds -inf, whose average with itself is no number.
        self.copied = infinite | {n for n in _tensors(student) if copied is not None and copied(n)}
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode."""
        super().train(False)
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the copy's output, without gradient."""
        with torch.no_grad():
            out: Tensor = self.network(*inputs)
        return out

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """Move weights and buffers towards the student's. Modified in place."""
        copy, given = _tensors(self.network), _tensors(student)
        rest = copy.keys() - self.copied
        follow([t for n, t in copy.items() if n in rest], [t for n, t in given.items() if n in rest], momentum)
        for name in self.copied:
            copy[name].copy_(given[name])


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
