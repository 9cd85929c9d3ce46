"""Metadata of curation: the entries that a text must name to be kept."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import log2
from pathlib import Path

from diptych.core.errors import DataError
from diptych.data.textfiles import read_json, read_text
from diptych.data.wordnet import WordNet

WORDNET = "wordnet"
"""Name of the entries that ship: the first lemma of each of WordNet's nouns."""


def entries(given: str | Path) -> tuple[str, ...]:
    """Return entries: of WordNet ("wordnet"), of a JSON list, or of a text file with one a line.

    Raises:
        UsageError: there is no such file.
        DataError: it holds no entries, or something else than texts.
    """
    if str(given) == WORDNET:
        return tidied([*map(str, range(100)), *wordnet_names()])
    path = Path(given)
    if path.suffix == ".json":
        found = read_json(path, "metadata entries")
        if not isinstance(found, list) or not all(isinstance(e, str) for e in found):
            raise DataError(f"{path} is no JSON list of texts: give one, or a text file with one entry a line.")
    else:
        found = read_text(path, "metadata entries").splitlines()
    kept = tidied(found)
    if not kept:
        raise DataError(f"{path} holds no entries: give one a line.")
    return kept


def tidied(found: Iterable[str]) -> tuple[str, ...]:
    """Return entries trimmed, each once, in order; empty ones and single punctuation marks are left out. Case is
    kept.
    """
    return tuple(dict.fromkeys(e for text in found if (e := " ".join(text.split())) and e not in string.punctuation))


def wordnet_names() -> Iterator[str]:
    """Yield the first lemma of every noun synset, with spaces, as WordNet spells it."""
    yield from WordNet.load().names()


def frequent(texts: Iterable[str], least: int, pmi: float = 30.0) -> tuple[str, ...]:
    """Return the words of a corpus that occur at least ``least`` times, and its bigrams of high pointwise mutual
    information.

        PMI(a b) = log2( n(a b) N / (n(a) n(b)) ),  N: number of words

    Args:
        texts: the corpus, split at spaces; memory grows with its vocabulary.
        least: times a word, and a bigram, must occur (the authors: 100 in Wikipedia).
        pmi: least PMI of a bigram (30).
    """
    one: Counter[str] = Counter()
    two: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = text.split()
        one.update(words)
        two.update(pairwise(words))
    total = one.total()
    singles = [w for w, n in sorted(one.items()) if n >= least]
    pairs = [
        f"{a} {b}" for (a, b), n in sorted(two.items()) if n >= least and log2(n * total / (one[a] * one[b])) >= pmi
    ]
    return tidied([*singles, *pairs])
