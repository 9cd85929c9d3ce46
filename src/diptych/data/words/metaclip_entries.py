"""MetaCLIP's metadata: the entries of which a text must contain one to be kept."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from math import log2
from pathlib import Path

from diptych.core import DataError
from diptych.data.words.textfiles import read_json, read_text
from diptych.data.words.wordnet import WordNet

WORDNET = "wordnet"
"""Name of the packaged entries: the first lemma of each noun of WordNet."""


def entries(source: str | Path) -> tuple[str, ...]:
    """Return the entries of WordNet ("wordnet"), of a JSON list, or of a text file with one per line.

    Raises:
        UsageError: there is no such file.
        DataError: the file has no entries, or values that are no texts.
    """
    if str(source) == WORDNET:
        return _wordnet_entries()
    path = Path(source)
    if path.suffix == ".json":
        lines = read_json(path, "metadata entries")
        if not isinstance(lines, list) or not all(isinstance(e, str) for e in lines):
            raise DataError(f"{path} is no JSON list of texts: give one, or a text file with one entry per line.")
    else:
        lines = read_text(path, "metadata entries").splitlines()
    result = tidied(lines)
    if not result:
        raise DataError(f"{path} holds no entries: give one per line.")
    return result


@lru_cache(maxsize=1)
def _wordnet_entries() -> tuple[str, ...]:
    return tidied([*map(str, range(100)), *wordnet_names()])


def tidied(texts: Iterable[str]) -> tuple[str, ...]:
    """Return entries without surrounding spaces, each once, in order, with their case.

    Empty entries and single punctuation marks are left out.
    """
    return tuple(dict.fromkeys(e for text in texts if (e := " ".join(text.split())) and e not in string.punctuation))


def wordnet_names() -> Iterator[str]:
    """Yield the first lemma of every noun synset, with spaces, as WordNet spells it."""
    yield from WordNet.load().names()


def frequent(texts: Iterable[str], least: int, pmi: float = 30.0) -> tuple[str, ...]:
    """Return the frequent words of a corpus, and its bigrams of high pointwise mutual information, however rare.

        PMI(a b) = log2( n(a b) N / (n(a) n(b)) )

    n: number of occurrences;  N: number of words

    Args:
        texts: the corpus, split at spaces; memory grows with its vocabulary.
        least: least number of occurrences of a word (the authors: 100 in Wikipedia).
        pmi: least PMI of a bigram (30). A bigram that occurs n times has log2(N / n) at most, so a high one is rare.
    """
    one: Counter[str] = Counter()
    two: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = text.split()
        one.update(words)
        two.update(pairwise(words))
    total = one.total()
    singles = [w for w, n in sorted(one.items()) if n >= least]
    pairs = [f"{a} {b}" for (a, b), n in sorted(two.items()) if log2(n * total / (one[a] * one[b])) >= pmi]
    return tidied([*singles, *pairs])
