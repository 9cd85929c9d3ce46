"""Find which tokens of a text belong to which word, for any text encoder, from its token ids alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.core import DataError, Encoder, Inputs, MissingHook, Table

_WORD = re.compile(r"[.,]|[^\s.,]+")
PUNCTUATION = frozenset('.,!"?;:')
"""Marks that are no words."""


def words(text: str) -> list[tuple[int, int]]:
    """Return (start, end) in characters of each word; "." and "," are words of their own."""
    return [m.span() for m in _WORD.finditer(text)]


def token_ids(x: Inputs) -> Tensor:
    """Return the (B, T) ids among the inputs of a text tower.

    Raises:
        MissingHook: the encoder reads no ids.
    """
    ids = x if isinstance(x, Tensor) else x.get("ids")
    if ids is None or ids.ndim != 2 or ids.is_floating_point():
        raise MissingHook(
            "This text encoder reads no token ids, so words cannot be found in its tokens: use lite or a CLIP text "
            "backbone."
        )
    return ids


def token_spans(encoder: Encoder[Any], text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (first, after last) token of each word, as the words are tokenised inside the text.

    A text that is cut after a word begins with the same tokens as the whole text, and the number of equal tokens tells
    where the word ends. Words that are tokenised one by one may split into other pieces, which would shift all later
    ones.

    Args:
        encoder: of texts.
        text: as it is encoded.
        spans: (start, end) of the words in characters, in order.

    Raises:
        MissingHook: the encoder reads no ids.
        UsageError: the text is longer than the encoder's context.
    """
    if not spans:
        return []
    whole, *cut = (token_ids(encoder.inputs([t]))[0] for t in (text, "", *(text[:end] for _, end in spans[:-1])))
    ends = [_agree(ids, whole) for ids in cut]
    end_token = cut[0][ends[0]]  # of the empty text, which is start and end
    ends.append(int((whole[ends[0] :] == end_token).int().argmax()) + ends[0])
    return list(itertools.pairwise(ends))


def _agree(a: Tensor, b: Tensor) -> int:
    """Return how many tokens two texts begin with together."""
    n = min(len(a), len(b))
    differ = (a[:n] != b[:n]).nonzero()
    return int(differ[0]) if len(differ) else n


def first_captions(pairs: Table[Any]) -> list[str]:
    """Return the first caption of each of N items.

    Raises:
        DataError: the table has no captions, or a caption has no word.
    """
    texts = _first(pairs)
    for i, text in enumerate(texts):
        if not words(text):
            raise DataError(f"{pairs.items.name(i)} has no caption: fill it, or remove the row.")
    return texts


def with_captions(pairs: Table[Any]) -> list[int]:
    """Return the rows of N items whose first caption has a word; raises DataError where the table has no captions."""
    return [i for i, text in enumerate(_first(pairs)) if words(text)]


def _first(pairs: Table[Any]) -> list[str]:
    column = pairs.columns.get("captions")
    if column is None or column.kind != "captions":
        raise DataError("This table has no captions: give pictures with a column of texts.")
    return [str(next(iter((value,) if isinstance(value, str) else value), "")) for value in column.values]
