"""Noun phrases of captions that name things, by WordNet's nouns instead of a tagger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from diptych.data.words.wordnet import WordNet

OBJECT, LOCATION = 2684, 27167
"""Synsets of WordNet 3.0: a phrase names an object, and no location (such as "top" or "corner")."""
LONGEST = 3
"""Words of a phrase, the noun included."""
_WORD = re.compile(r"[a-z][a-z'-]*|[.,;:!?]")
_CLOSED_CLASSES = """
a an the this that these those some any each every another other both all many several few more most much one two three
four five six seven eight nine ten no his her its their my your our he she it they we you i him them us who which what
there here and or but nor so as than if while when where with without of in on at by for from to into onto over under
above below between behind beside besides near next across along around through during up down out off against toward
towards inside outside is are was were be been being has have had having do does did can could will would may might must
not very too also just only then it's that's there's upon among about
"""
_GENERIC_NOUNS = """
thing item object picture photo photograph image shot view scene group bunch lot set pair number kind type piece part
side top bottom front back middle end background foreground area place day color colour way row couple variety close
"""
_CLOSED, _GENERIC = frozenset(_CLOSED_CLASSES.split()), frozenset(_GENERIC_NOUNS.split())
_ENDS = (("ies", "y"), ("ves", "f"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""))
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "mice": "mouse"}


@lru_cache(maxsize=1)
def _nouns() -> WordNet:
    return WordNet.load()


@lru_cache(maxsize=65536)
def names_an_object(word: str) -> bool:
    """Return whether one of the two most frequent senses of a word, singular or plural, is an object and no place."""
    known = _nouns()
    singular = next((s for s in _singulars(word) if s in known), None)
    if singular is None or singular in _GENERIC:
        return False
    above = [{sense.offset, *known.ancestors(sense.offset)} for sense in known.senses(singular)[:2]]
    return any(OBJECT in a and LOCATION not in a for a in above)


def noun_phrases(caption: str) -> tuple[str, ...]:
    """Return the phrases of a caption that name things, each once, in order.

    A phrase ends in a noun that ``names_an_object``, and begins up to two words before it, of the same run of words
    without articles, prepositions, pronouns and other closed classes.

    Source: Chen et al. 2024 (CLOC), section 4, has determiner, adjectives and nouns of a tagger; the words that stand
        for one here are WordNet's.

    Example:
        >>> noun_phrases("A white truck with a dog standing on it's roof.")
        ('white truck', 'dog', 'roof')
    """
    return tuple(dict.fromkeys(phrase for run in _runs(caption) for phrase in _in_run(run)))


def _in_run(run: list[str]) -> Iterator[str]:
    start = 0
    for end, word in enumerate(run, 1):
        ends = names_an_object(word) and not (end < len(run) and names_an_object(run[end]))
        if ends:
            yield " ".join(run[max(start, end - LONGEST) : end])
            start = end


def _runs(caption: str) -> Iterator[list[str]]:
    run: list[str] = []
    for word in _WORD.findall(caption.lower()):
        if word in _CLOSED or not word[0].isalpha() or (word.endswith("ing") and not names_an_object(word)):
            yield run
            run = []
        else:
            run.append(word)
    yield run


def _singulars(word: str) -> Iterator[str]:
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    yield word
    for end, instead in _ENDS:
        if word.endswith(end) and len(word) > len(end) + 1:
            yield word[: -len(end)] + instead
