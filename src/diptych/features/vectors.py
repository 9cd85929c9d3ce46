"""Outputs of encoders as samples, so that training can use what was computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diptych.core import Samples, Subset
from diptych.data.joined import Joined


@dataclass(frozen=True)
class Vectors:
    """Samples whose items were computed, one for each item of other samples.

    Args:
        values: (N, ...) tensor, or N tensors or other values.
        items: the samples that they were computed from, for keys and names.
    """

    values: Tensor | Sequence[Any]
    items: Samples[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> Any:
        return self.values[index]

    def key(self, index: int, /) -> str:
        """Return the key of the item."""
        return self.items.key(index)

    def name(self, index: int, /) -> str:
        """Return the name of the item."""
        return self.items.name(index)


def sources(samples: Samples[Any]) -> Samples[Any]:
    """Return the samples that vectors were computed from; samples that are no vectors are returned as they are."""
    if isinstance(samples, Vectors):
        return samples.items
    if isinstance(samples, Subset):
        return Subset(sources(samples.samples), samples.indices)
    return Joined(tuple(map(sources, samples.parts))) if isinstance(samples, Joined) else samples
