"""Captions of a row, or the prompts of its class where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diptych.core import DataError, Row


@dataclass(frozen=True)
class RowCaptions:
    """The captions of a row, or the prompts of its class where it has none.

    Args:
        prompts: of each class; (): rows have captions.
    """

    prompts: Sequence[Sequence[str]] = ()

    def of(self, row: Row) -> Sequence[str]:
        """Return all captions of a row.

        Raises:
            DataError: it has none.
        """
        own = row.columns.get("captions")
        own = [own] if isinstance(own, str) else own
        if not own and self.prompts and "label" in row.columns:
            own = self.prompts[int(row.columns["label"])]
        if not own:
            raise DataError(f"Row {row.index} has no captions: fill them, or remove the row.")
        return list(own)

    def drawn(self, row: Row, g: torch.Generator, count: int) -> list[str]:
        """Return K captions in a random order; where a row has fewer, they are repeated."""
        own = self.of(row)
        order = torch.randperm(len(own), generator=g).tolist()
        return [str(own[order[k % len(own)]]) for k in range(count)]

    def one(self, row: Row, g: torch.Generator) -> str:
        """Return one caption."""
        return self.drawn(row, g, 1)[0]
