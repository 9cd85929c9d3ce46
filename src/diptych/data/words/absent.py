"""Nouns for things that a collection does not show, as far as its captions and labels say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np

from diptych.data.words.classnames import tidy
from diptych.data.words.nouns import singular
from diptych.data.words.wordnet import WordNet

_WORD = re.compile(r"[a-z]+")
SENSES = 2
"""Senses of a word of the collection that count: "crane" is a bird and a machine."""
LEVELS = 2
"""Levels below a word of the collection that count: a caption with "dog" may mean a dachshund."""


def picture_nouns() -> list[str]:
    """Return common nouns for things that a photo shows as a whole, sorted: 883, see ``recipes.picture_nouns``."""
    path = files("diptych") / "data" / "words" / "picture_nouns.txt"
    return path.read_text(encoding="utf-8").split()


def absent_nouns(texts: Iterable[str], wordnet: WordNet, count: int, seed: int) -> list[str]:
    """Return nouns that no text names, in an order that the seed fixes.

    A noun is left out where a text holds it, a narrower word, a word at most ``LEVELS`` broader, or what it is part of.

    Args:
        texts: captions, labels and file names of the collection.
        wordnet: tells what is broader and narrower.
        count: most nouns.
        seed: draws them.

    Example:
        >>> drawn = absent_nouns(["two dogs on a sofa"], WordNet.load(), 1000, seed=0)
        >>> "dog" in drawn, "animal" in drawn, "corgi" in drawn, "giraffe" in drawn
        (False, False, False, True)
    """
    phrases, hypernyms = _phrases(texts), _Hypernyms(wordnet)
    known = {noun for phrase in phrases if (noun := singular(phrase, wordnet)) is not None}
    named = {sense.offset for noun in known for sense in wordnet.senses(noun)[:SENSES]}
    taken = set(named)
    for offset in named:
        taken.update(wordnet.synset(offset).parts)
    taken |= hypernyms.above(named)
    left = []
    for noun in picture_nouns():
        first_sense = wordnet.senses(noun)[0].offset
        if noun in phrases or noun in known or first_sense in taken or hypernyms.above({first_sense}, LEVELS) & named:
            continue
        left.append(noun)
    order = np.random.default_rng(seed).permutation(len(left))[:count]
    return [left[i] for i in order]


def _phrases(texts: Iterable[str]) -> set[str]:
    """Return the words of texts, and their pairs of neighbours."""
    phrases = set[str]()
    for text in texts:
        words = _WORD.findall(tidy(text).lower())
        phrases.update(words)
        phrases.update(f"{a} {b}" for a, b in pairwise(words))
    return phrases


class _Hypernyms:
    """Broader synsets, each looked up once."""

    def __init__(self, wordnet: WordNet) -> None:
        self._direct = cache(lambda offset: wordnet.synset(offset).hypernyms)

    def above(self, offsets: Set[int], levels: int | None = None) -> set[int]:
        """Return all synsets above some, up to a number of levels."""
        seen, edge = set[int](), set(offsets)
        while edge and levels != 0:
            edge = {up for offset in edge for up in self._direct(offset)} - seen
            seen |= edge
            levels = None if levels is None else levels - 1
        return seen
