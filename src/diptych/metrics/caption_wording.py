"""How captions are worded, whatever they are about: distinct n-grams and repetitions. No reference is needed.

Words are those of ``metrics.caption``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.core import DataError
from diptych.metrics.caption import Floats, tokens


def distinct(candidates: Sequence[str], n: int = 2) -> float:
    """Return distinct-n, in [0, 1]: different n-grams of n >= 1 words over all n-grams of all captions, at least one;
    higher is more varied.

    It falls with the number of captions, so only sets of one size compare. Without an n-gram it is 0.

    Raises:
        DataError: there is no caption, or n is below 1.

    Source: Li et al. 2016, section 4.3 (distinct-1 and distinct-2).

    Example:
        >>> distinct(["a red dog", "a red cat"], n=2)
        0.75
    """
    grams = [g for caption in _checked(candidates, n) for g in _grams(tokens(caption), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(candidates: Sequence[str], n: int = 1) -> Floats:
    """Return the share of n-grams, of n >= 1 words, of each of N captions that stood in it before, (N,) in [0, 1];
    lower is better.

    A caption without an n-gram gets 0.

    Raises:
        DataError: there is no caption, or n is below 1.

    Source: Welleck et al. 2020, section 6 (seq-rep-n), one sequence at a time.

    Example:
        >>> repetition(["a dog on a dog", "a red cat"]).tolist()
        [0.4, 0.0]
    """
    lists = [_grams(tokens(caption), n) for caption in _checked(candidates, n)]
    return np.array([1 - len(set(own)) / len(own) if own else 0.0 for own in lists])


def _checked(candidates: Sequence[str], n: int) -> Sequence[str]:
    if not len(candidates) or n < 1:
        raise DataError(f"Wording is measured on captions and n-grams of n >= 1, got {len(candidates)} and n = {n}.")
    return candidates


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
