"""Whether a query names a thing that a photo shows as a whole: for such words the default cut promises more than for
others, see ``recipes.lite_cut_words``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from diptych.data.words.nouns import singular
from diptych.data.words.wordnet import WordNet
from diptych.tasks.search.absent import SENSES, picture_nouns

Kind = Literal["thing", "other"]
ABOVE = 2
"""Levels of WordNet above a noun in which a noun for a thing is looked for: a spaniel is a dog."""
ARTICLES = ("a ", "an ", "the ")


@lru_cache(maxsize=1)
def _things() -> tuple[WordNet, frozenset[int]]:
    wordnet = WordNet.load()
    return wordnet, frozenset(wordnet.senses(noun)[0].offset for noun in picture_nouns())


def word_kind(text: str) -> Kind:
    """Return "thing" for one of the nouns of ``picture_nouns``, with or without an article, a synonym, or a noun at
    most ``ABOVE`` levels narrower, by one of its first ``SENSES`` senses (the first of a leopard is its fur); "other"
    for all else: activities, looks, places, rare nouns, and phrases.

    Example:
        >>> [word_kind(text) for text in ("a dog", "Spaniels", "jumping", "wooden", "a red shirt", "")]
        ['thing', 'thing', 'other', 'other', 'other', 'other']
    """
    words = " ".join(text.lower().split())
    for article in ARTICLES:
        words = words.removeprefix(article)
    wordnet, things = _things()
    noun = singular(words, wordnet) if words else None
    if noun is None:
        return "other"
    senses = {sense.offset for sense in wordnet.senses(noun)[:SENSES]}
    for _ in range(ABOVE + 1):
        if senses & things:
            return "thing"
        senses = {up for sense in senses for up in wordnet.synset(sense).hypernyms}
    return "other"
