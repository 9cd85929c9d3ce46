"""Several captions of a row, and the weights by which a training draws one of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diptych.core import Column, DataError, UsageError
from diptych.core.wording import number_of
from diptych.data.rows import CAPTION_COLUMNS, SYNTHETIC_COLUMNS, columns_of, text_of

WEIGHTS = "_weights"
"""Ends the name of the column with the weights of another one, such as "captions_weights"."""
CAPTION_WEIGHTS = ("caption_weights", "captions_weights", "caption_probs", "caption_probabilities")
"""Names of columns with one weight for each caption of a row."""
SYNTHETIC_WEIGHTS = ("synthetic_weights", "syn_text_weights")
"""The same for captions that a model wrote."""
KINDS = {"captions": (CAPTION_COLUMNS, CAPTION_WEIGHTS), "synthetic": (SYNTHETIC_COLUMNS, SYNTHETIC_WEIGHTS)}
"""Column of captions -> usual names of the columns with its texts and with their weights."""

Weighted = tuple[tuple[str, ...], tuple[float, ...] | None]
"""The texts of a row, and one weight each; None: all are equal."""


def weighted(cells: Sequence[Any], weights: Any, shares: Sequence[float], where: str) -> Weighted:
    """Return the texts of a row that are not empty, and their weights, which sum to 1.

    Args:
        cells: of each column of captions: one text, or a list of texts.
        weights: one number for each text of all cells, a list or its JSON; None or "": there are none.
        shares: one number for each cell, which its texts share equally; (): there are none. The share of an empty cell
            is divided among the others.
        where: name of the row, for the error.

    Raises:
        DataError: the weights are not as many as the texts, one is not a number from 0 on, or none is above 0.

    Example:
        >>> weighted(["a dog", ["", "a cat"]], [1, 5, 3], (), "Row 1")
        (('a dog', 'a cat'), (0.25, 0.75))
        >>> weighted(["", ["a cat", "a pet"]], None, (0.9, 0.1), "Row 1")
        (('a cat', 'a pet'), (0.5, 0.5))
    """
    lists = [[text_of(t).strip() for t in _listed(cell)] for cell in cells]
    numbers: list[float] | None
    if shares:
        filled = [sum(map(bool, texts)) for texts in lists]
        each = zip(shares, filled, lists, strict=True)
        numbers = [share / count if text else 0.0 for share, count, texts in each for text in texts]
    else:
        numbers = _numbers(weights, where)
    flat = [text for texts in lists for text in texts]
    if numbers is None:
        return tuple(filter(None, flat)), None
    if len(numbers) != len(flat):
        raise DataError(f"{where} has {len(numbers)} weights for {len(flat)} captions: give one per caption.")
    pairs = [(text, number) for text, number in zip(flat, numbers, strict=True) if text]
    total = sum(number for _, number in pairs)
    if pairs and not total > 0:
        raise DataError(f"{where} has no caption with a weight above 0: give one, or leave the weights out.")
    return tuple(text for text, _ in pairs), tuple(number / total for _, number in pairs)


def _listed(cell: Any) -> Sequence[Any]:
    """Return the values of a cell, which is one or a list, also an array of NumPy."""
    values = cell.tolist() if hasattr(cell, "tolist") else cell
    return values if isinstance(values, (list, tuple)) else [values]


def _numbers(weights: Any, where: str) -> list[float] | None:
    if weights is None or (isinstance(weights, str) and not weights.strip()):
        return None
    try:
        cell = json.loads(weights) if isinstance(weights, str) else weights
        numbers = [float(number) for number in _listed(cell)]
    except (TypeError, ValueError, RecursionError):
        numbers = [math.nan]
    if not all(0 <= number < math.inf for number in numbers):
        raise DataError(f"{where} has the weights {str(weights)[:60]!r}: give numbers from 0 on, one per caption.")
    return numbers


def caption_columns(
    cells: Mapping[str, Sequence[Any]],
    rows: Iterable[int],
    table: str | os.PathLike[str],
    name: str = "captions",
    given: str = "",
    shares: Sequence[float] = (),
) -> dict[str, Column]:
    """Return the column of captions of some rows of a table, and their weights as the column ``name + WEIGHTS``.

    Args:
        cells: name -> cells of the table.
        rows: numbers of the rows.
        table: its name, for the error.
        name: key of ``KINDS``.
        given: name or pattern of the user, or several with commas between them; "": the usual names.
        shares: weight of each column; (): there are none.

    Returns:
        {} where no column has captions; there are weights where a column or shares tell them.

    Raises:
        UsageError: another number of shares than of columns, or weights besides shares.
        DataError: as ``weighted``.
    """
    texts = columns_of(cells, KINDS[name][0], given)
    weight_columns = columns_of(cells, KINDS[name][1])
    check_shares(shares, texts, weight_columns, os.fspath(table))
    if not texts:
        return {}
    of_rows = [
        weighted(
            [cells[c][i] for c in texts],
            cells[weight_columns[0]][i] if weight_columns else None,
            shares,
            f"Row {i + 1} of {table}",
        )
        for i in rows
    ]
    columns = {name: Column("captions", tuple(row for row, _ in of_rows))}
    if weight_columns or shares:
        equal = (tuple(w or (1 / max(1, len(row)),) * len(row)) for row, w in of_rows)
        columns[name + WEIGHTS] = Column("weights", tuple(equal))
    return columns


def check_shares(shares: Sequence[float], columns: Sequence[str], weights: Sequence[str], table: str) -> None:
    """Check that there is one share for each column of captions, and nothing else that tells weights.

    Raises:
        UsageError: there is not.
    """
    if not shares:
        return
    if len(shares) != len(columns):
        raise UsageError(
            f"{{caption_weights}} has {number_of(len(shares), 'number')}, and {table} has "
            f"{number_of(len(columns), 'column')} of captions{', ' if columns else ''}{', '.join(columns)[:200]}: "
            f"give one each."
        )
    if not all(0 <= share < math.inf for share in shares) or not sum(shares):
        raise UsageError(f"{{caption_weights}} takes numbers from 0 on, not all 0, got {', '.join(map(str, shares))}.")
    if weights:
        raise UsageError(f"{table} has weights in {weights[0]}: leave out {{caption_weights}}, or that column.")
