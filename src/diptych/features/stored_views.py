"""Views of images that were embedded once, as samples to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diptych.core.data import Samples


@dataclass(frozen=True)
class Views:
    """Embedded views of N images.

    Args:
        values: (N, A, D) embeddings of A views.
        items: the images they come from, for keys and names.
    """

    values: Tensor
    items: Samples[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> Tensor:
        return self.values[index]

    def key(self, index: int, /) -> str:
        """Return the key of the image."""
        return self.items.key(index)

    def name(self, index: int, /) -> str:
        """Return the name of the image."""
        return self.items.name(index)
