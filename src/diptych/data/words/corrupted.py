"""Sentences that are no longer grammatical: words are repeated, left out, inserted, replaced or shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Words = list[str]
MOST = 3
"""Words that are changed at once, and times that they are repeated."""


def repeated(words: Words, vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return the words with a run of 1 to 3 of them inserted 1 to 3 times at random places."""
    size = _size(words, rng)
    start = int(rng.integers(len(words) - size + 1))
    run, result = words[start : start + size], list(words)
    for _ in range(int(rng.integers(1, MOST + 1))):
        place = int(rng.integers(len(result) + 1))
        result[place:place] = run
    return result


def removed(words: Words, vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return the words without a run of 1 to 3 of them."""
    size = _size(words, rng)
    start = int(rng.integers(len(words) - size + 1))
    return words[:start] + words[start + size :]


def inserted(words: Words, vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return the words with 1 to 3 words of the vocabulary at random places."""
    result = list(words)
    for _ in range(int(rng.integers(1, MOST + 1))):
        result.insert(int(rng.integers(len(result) + 1)), vocabulary[int(rng.integers(len(vocabulary)))])
    return result


def replaced(words: Words, vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return the words with 1 to 3 of them replaced by words of the vocabulary."""
    result = list(words)
    for place in rng.choice(len(words), _size(words, rng), replace=False).tolist():
        result[place] = vocabulary[int(rng.integers(len(vocabulary)))]
    return result


def shuffled(words: Words, vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return the words in another order."""
    return [words[i] for i in rng.permutation(len(words)).tolist()]


KINDS: tuple[Callable[[Words, Sequence[str], np.random.Generator], Words], ...] = (
    repeated, removed, inserted, replaced, shuffled,
)  # fmt: skip
"""The five kinds, equally likely."""


def corrupted(words: Sequence[str], vocabulary: Sequence[str], rng: np.random.Generator) -> Words:
    """Return a corrupted copy of a sentence of at least one word, which differs from it and keeps one; words to insert
    come from a vocabulary of two or more.

    A draw that changes nothing, such as a shuffle of one word, is drawn again.

    Example:
        >>> corrupted("a red circle".split(), ["a", "blue"], np.random.default_rng(3))
        ['a', 'circle', 'red']
    """
    given = list(words)
    while True:
        result = KINDS[int(rng.integers(len(KINDS)))](given, vocabulary, rng)
        if result and result != given:
            return result


def _size(words: Words, rng: np.random.Generator) -> int:
    return int(rng.integers(1, min(MOST, len(words)) + 1))
