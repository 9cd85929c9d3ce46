"""Tensors as samples, so that training can use precomputed embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diptych.core.data import Samples


@dataclass(frozen=True)
class Vectors:
    """Samples whose items are tensors, one for each item of other samples.

    Args:
        values: (N, ...) tensor, or N tensors.
        items: the samples that they were computed from, for keys and names.
    """

    values: Tensor | Sequence[Tensor]
    items: Samples[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> Tensor:
        return self.values[index]

    def key(self, index: int, /) -> str:
        """Return the key of the item."""
        return self.items.key(index)

    def name(self, index: int, /) -> str:
        """Return the name of the item."""
        return self.items.name(index)
