"""Similarities of texts by their letters, in [0, 1]; higher is more alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.core.errors import need_extra


def levenshtein(left: list[str], right: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the Levenshtein similarities of n texts to M texts, (n, M); 0 where a text is empty.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    need_extra("index", "String matching", "rapidfuzz")
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    similarities = cdist(left, right, scorer=Levenshtein.normalized_similarity, dtype=np.float32)
    written = [np.array([bool(t) for t in texts], dtype=bool) for texts in (left, right)]
    return np.asarray(np.where(written[0][:, None] & written[1], similarities, 0.0), np.float32)


def jaccard(left: list[str], right: list[str], n: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the Jaccard similarities of n texts to M texts, (n, M).

    Args:
        left: n texts.
        right: M texts.
        n: letters of a gram; a shorter text has itself as its only gram.
    """
    from scipy.sparse import csr_matrix

    grams = [{t[i : i + n] for i in range(max(1, len(t) - n + 1))} - {""} for t in (*left, *right)]
    number = {g: i for i, g in enumerate(sorted(set().union(*grams)))}
    ends = np.cumsum([0, *(len(g) for g in grams)])
    columns = [number[g] for of_text in grams for g in of_text]
    table = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(grams), max(1, len(number))))
    sizes = np.diff(ends).astype(np.float32)
    both = (table[: len(left)] @ table[len(left) :].T).toarray()
    either = sizes[: len(left), None] + sizes[None, len(left) :] - both
    return np.asarray(both / np.maximum(either, 1.0), np.float32)
