"""Foils: captions in which one noun is replaced by a noun of another kind that no caption of the photo has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.data.words.nouns import NOT_NOUNS
from diptych.data.words.wordnet import WordNet

KINDS = (
    "person",
    "animal",
    "vehicle",
    "clothing",
    "furniture",
    "food",
    "plant",
    "structure",
    "container",
    "equipment",
    "body of water",
)
"""WordNet nouns that name the kinds; the kind of a word is the nearest hypernym of its first sense among them."""


_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Foil:
    """A caption with one wrong word.

    Args:
        right: the original caption.
        wrong: the caption with one word replaced.
        start, end: character offsets of the swapped word in ``wrong``.
    """

    right: str
    wrong: str
    start: int
    end: int


def kinds(wordnet: WordNet, vocabulary: Sequence[str]) -> dict[str, str]:
    """Return word -> kind, for the words whose first sense has a hypernym in ``KINDS``."""
    tops = {wordnet.senses(kind)[0].offset: kind for kind in KINDS}
    result = {}
    for word in vocabulary:
        senses = wordnet.senses(word) if len(word) > 2 and word not in NOT_NOUNS else []
        if senses and (
            kind := next((tops[o] for o in (senses[0].offset, *wordnet.ancestors(senses[0].offset)) if o in tops), None)
        ):
            result[word] = kind
    return result


def counted(captions: Sequence[Sequence[str]], least: int = 3) -> list[str]:
    """Return the words that occur in at least ``least`` of the photos' captions, sorted."""
    counts: dict[str, int] = {}
    for texts in captions:
        for word in {w for text in texts for w in _WORD.findall(text.lower())}:
            counts[word] = counts.get(word, 0) + 1
    return sorted(w for w, n in counts.items() if n >= least)


def foil(captions: Sequence[str], kind: Mapping[str, str], rng: np.random.Generator, wordnet: WordNet) -> Foil | None:
    """Replace one noun in one caption of a photo; None where no caption has a noun to replace.

    Args:
        captions: all captions of the photo.
        kind: word -> kind. The replacement is of another kind, since words of one kind (girl, lady) may both be true.
        rng: generator that draws caption, word and replacement.
        wordnet: hypernyms and hyponyms of words of the captions (dog, animal) are no replacements.
    """
    used = {w for text in captions for w in _WORD.findall(text.lower())}
    near = {lemma for w in used if w in kind for lemma in _relatives(w, wordnet)} | used
    for i in rng.permutation(len(captions)):
        text = captions[i]
        spans = [m.span() for m in re.finditer(r"[A-Za-z]+", text) if m.group().lower() in kind]
        for j in rng.permutation(len(spans)):
            start, end = spans[j]
            others = [w for w, k in sorted(kind.items()) if k != kind[text[start:end].lower()] and w not in near]
            if others:
                word = others[int(rng.integers(len(others)))]
                word = word.capitalize() if text[start].isupper() else word
                return Foil(text, text[:start] + word + text[end:], start, start + len(word))
    return None


def _relatives(word: str, wordnet: WordNet) -> set[str]:
    first = wordnet.senses(word)[0]
    synsets = [first, *(wordnet.synset(o) for o in (*wordnet.ancestors(first.offset), *first.hyponyms))]
    return {lemma.lower() for s in synsets for lemma in s.lemmas}
