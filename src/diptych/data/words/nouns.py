"""Nouns of captions that name things one could point at, by WordNet, and where it is asked for by nltk's tagger.

A word or phrase of up to three words counts where WordNet has it, or its singular, as a noun whose most frequent sense
is a physical entity and no process: "dog" counts, "jump" (an increase) and "blue" (a colour) do not, nor does "table"
(of data). The longest phrase wins, so "tennis racket" is one noun.

Without a tagger, words that captions mostly use as adjectives, verbs or prepositions are left out by a list, since
WordNet has nouns for many of them ("white", "stand"). nltk's tagger decides by the sentence instead; its data are not
part of the package and must be on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from diptych.core import MissingExtra, NotAvailable
from diptych.data.words.wordnet import WordNet

Tagger = Literal["wordnet", "nltk"]
"""Who says which words are nouns: WordNet and a list, or nltk's perceptron tagger beside WordNet."""
PHYSICAL, PROCESS = 1930, 29677
"""WordNet's numbers of "physical entity" and of "process", which lies below it."""
LONGEST = 3
"""Words of the longest phrase."""
NLTK_DATA = "averaged_perceptron_tagger_eng"
"""What nltk's tagger needs beside its package."""
_OTHERWISE = """white black red brown blue green yellow orange pink tan blond blonde young old male female adult short
long top back front side right left light dark open clear down in on at out up off over by standing sitting building
running playing small large big wild dry have heavy empty forward grey gray colored asian martial eats cross can bars
hood hose mini native single plain"""
NOT_NOUNS = frozenset(_OTHERWISE.split())
"""Words that captions use mostly as other parts of speech, though WordNet lists a noun."""
_MORE = """about above across after against all along also an and another are area around as at away background
barefoot be become been before begin behind being below beneath beside between both bottom but camera climb
close closeup couple distance do during each edge end eye facing few for foreground four from front get go
group has he her here him his how image in inside into is it its jump just kind laying like line little
lone lot lying make many middle more most near next no not number object of off one onto open or other
outdoors outside over pair part past people's photo picture piece place play row run same scene set several
shallow she side sit small some someone something sort stand style that the their them then there these
they thing this those three through to together towards trick trip turn two under until up upon us use very
view walk was watch way wear what when where which while who with work you"""
_NOT = NOT_NOUNS | frozenset(_MORE.split())
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_ENDINGS = (("men", "man"), ("ies", "y"), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"))
"""WordNet's own rules for plurals, the longest first; a last "s" is the rule after them."""
IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "knives": "knife", "leaves": "leaf", "mice": "mouse",
    "people": "person", "shelves": "shelf", "teeth": "tooth", "wolves": "wolf",
}  # fmt: skip


def singular(word: str, wordnet: WordNet) -> str | None:
    """Return a noun, in lower case, as WordNet has it; None where it has neither the word nor its singular. Of a phrase
    the last word may be a plural.

    Source: WordNet's rules of detachment (morphy), for nouns.
    """
    head, _, last = word.rpartition(" ")
    before = f"{head} " if head else ""
    if last in IRREGULAR and before + IRREGULAR[last] in wordnet:
        return before + IRREGULAR[last]
    if word in wordnet:
        return word
    ends = [before + last.removesuffix(old) + new for old, new in _ENDINGS if last.endswith(old)]
    ends += [word[:-1]] if last.endswith("s") else []
    return next((w for w in ends if w in wordnet), None)


def is_object(noun: str, wordnet: WordNet) -> bool:
    """Return whether the most frequent sense of a noun is a physical entity and no process."""
    first = wordnet.senses(noun)[0].offset
    above = (first, *wordnet.ancestors(first))
    return PHYSICAL in above and PROCESS not in above


@lru_cache(maxsize=1)
def _tag() -> Callable[[Sequence[str]], list[tuple[str, str]]]:
    if find_spec("nltk") is None:
        raise MissingExtra("nltk", "", "the tagger 'nltk'")
    pos_tag: Callable[[Sequence[str]], list[tuple[str, str]]] = import_module("nltk").pos_tag
    try:
        pos_tag(["a"])
    except LookupError:
        raise NotAvailable(
            f"nltk's tagger needs its data {NLTK_DATA}, which are not on this machine: run python -m nltk.downloader "
            f"{NLTK_DATA}, or take the tagger 'wordnet'."
        ) from None
    return pos_tag


def nouns(caption: str, wordnet: WordNet, tagger: Tagger = "wordnet") -> tuple[str, ...]:
    """Return the things that a caption names, each once, in its order, singular.

    Raises:
        MissingExtra: the tagger is nltk's, which is not installed.
        NotAvailable: its data are not on this machine.

    Example:
        >>> nouns("A white dog jumps over two tennis rackets and some children's bikes.", WordNet.load())
        ('dog', 'tennis racket', 'child', 'bike')
    """
    words = _WORD.findall(caption.lower().replace("'s", " ").replace("s'", "s "))
    if tagger == "nltk":
        open_ = [tag.startswith("NN") for _, tag in _tag()(words)]
    else:
        open_ = [w not in _NOT and len(w) > 2 for w in words]
    return tuple(dict.fromkeys(_things(words, open_, wordnet)))


def _things(words: Sequence[str], open_: Sequence[bool], wordnet: WordNet) -> Iterator[str]:
    i = 0
    while i < len(words):
        for n in range(min(LONGEST, len(words) - i), 0, -1):
            if not open_[i + n - 1] or any(w in _NOT for w in words[i : i + n - 1]):
                continue  # a phrase ends in its noun, and "little girl" is a girl
            noun = singular(" ".join(words[i : i + n]), wordnet)
            if noun is not None and noun not in _NOT and is_object(noun, wordnet):
                yield noun
                i += n
                break
        else:
            i += 1
