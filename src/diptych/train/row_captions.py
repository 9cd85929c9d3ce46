"""Captions of a row, or the prompts of its class where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diptych.core import DataError, Row

WEIGHTS = "_weights"
"""Ends the name of the column with the weights of a column of captions."""


def listed(row: Row, name: str = "captions") -> tuple[str, ...]:
    """Return the captions of a column of a row; () where it has none."""
    captions = row.columns.get(name)
    return (captions,) if isinstance(captions, str) else tuple(map(str, captions or ()))


def drawn_number(row: Row, g: torch.Generator, name: str = "captions") -> int:
    """Return the number of a caption of a row, drawn by its weights, or with equal probability where there are none.

    Args:
        row: with one caption at least in the column ``name``, and perhaps as many weights in ``name + WEIGHTS``.
        g: fixed by seed, epoch and row, so that one is drawn each time that the row is seen.
        name: of the column.

    Example:
        >>> row = Row(None, 0, "k", {"captions": ("a", "b"), "captions_weights": (0.0, 1.0)})
        >>> drawn_number(row, torch.Generator().manual_seed(0))
        1
    """
    weights = row.columns.get(name + WEIGHTS)
    if weights is None:
        return int(torch.randint(len(listed(row, name)), (), generator=g))
    return int(torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1, generator=g))


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
        texts: Sequence[str] = listed(row)
        if not texts and self.prompts and "label" in row.columns:
            texts = self.prompts[int(row.columns["label"])]
        if not texts:
            raise DataError(f"Row {row.index} has no captions: fill them, or remove the row.")
        return list(texts)

    def drawn(self, row: Row, g: torch.Generator, count: int) -> list[str]:
        """Return K captions in a random order, by their weights where there are some; where a row has fewer, they are
        repeated.
        """
        texts = self.of(row)
        weights = row.columns.get("captions" + WEIGHTS) if listed(row) else None
        if weights is None:
            order = torch.randperm(len(texts), generator=g).tolist()
        else:
            chances = torch.tensor(weights, dtype=torch.float64)
            order = torch.multinomial(chances, int((chances > 0).sum()), generator=g).tolist()
        return [str(texts[order[k % len(order)]]) for k in range(count)]

    def one(self, row: Row, g: torch.Generator) -> str:
        """Return one caption."""
        return self.drawn(row, g, 1)[0]
