"""Texts that say something else: words drawn at random, or what is true of another class.

A text that holds the name of its class, as those of pairs do ("A photo of a dress with a wide hem"), keeps it in both
controls: without the name, or with that of another class, any system fails, whatever its texts say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diptych.core import ClassNames, Evidence, Run, Text, TextPool
from diptych.data.words.pools import VERSUS
from diptych.evaluation.spoils import shuffled_names

_OLD, _NEW = "\0", "\1"
"""Stand where a name stood, until both names are found: signs that no name holds."""
_MARK = re.compile(f"(?:\\b(?P<article>an?) )?(?P<was>[{_OLD}{_NEW}])", re.IGNORECASE)


def random_texts(pool: TextPool, seed: int) -> TextPool:
    """Return a pool of the same keys and lengths whose words are drawn from all words of the pool.

    Where a text holds the name of its class, the name stays in its place, the other words are drawn from those that are
    no name, and the text becomes the same words wherever the class has it, so that a class keeps its number of distinct
    texts.
    """
    rng = np.random.default_rng(seed)
    words = sorted({word for texts in pool.texts.values() for text in texts for word in text.value.split()})
    named = {part.casefold() for key in pool.texts for name in key.split(VERSUS) for part in name.split()}
    others = [word for word in words if named.isdisjoint(_stems(word))] or words
    replaced: dict[tuple[str, str], Text] = {}

    def drawn_words(source: Sequence[str], count: int) -> str:
        return " ".join(source[i] for i in rng.integers(len(source), size=count))

    def drawn(caption: str, text: Text) -> Text:
        pieces = _name(caption, r"\S*").split(text.value)  # the odd ones hold the name
        if len(pieces) == 1:
            return Text(drawn_words(words, len(text.value.split())), writer="random words")
        if (caption, text.value) not in replaced:
            filled = [piece if n % 2 else drawn_words(others, len(piece.split())) for n, piece in enumerate(pieces)]
            replaced[caption, text.value] = Text(" ".join(filter(None, filled)), writer="random words")
        return replaced[caption, text.value]

    return TextPool(
        {key: tuple(drawn(key.split(VERSUS)[0], text) for text in texts) for key, texts in pool.texts.items()}
    )


def swapped_texts(classes: ClassNames, pool: TextPool, run: Run) -> TextPool:
    """Return a pool in which every class has the texts of another one, under its own name.

    Lists move along one random cycle, where every class has one; the two sides of a pair change places. Where a text
    holds the name of its class, the names of the two classes change places in it, so that the name stays and what is
    said of it is wrong. Texts of the same class for its other rivals are no such control: a system that asks about all
    classes at once reads the same texts.
    """
    held = pool.texts
    back = {key: VERSUS.join(reversed(key.split(VERSUS))) for key in held if VERSUS in key}
    sources = {key: other for key, other in back.items() if other in held}
    if all(name in held for name in classes):
        names, _ = shuffled_names(classes, Evidence(texts=pool), run)
        sources |= dict(zip(classes, names, strict=True))
    moved = {
        key: tuple(_renamed(text, source.split(VERSUS)[0], key.split(VERSUS)[0]) for text in held[source])
        for key, source in sources.items()
    }
    return TextPool({**held, **moved})


def _name(name: str, around: str = "") -> re.Pattern[str]:
    """Return a pattern of the name, singular or plural, as a word of its own: "t-shirt" is no shirt."""
    return re.compile(rf"({around}(?<![\w-]){re.escape(name)}(?:e?s)?(?![\w-]){around})", re.IGNORECASE)


def _stems(word: str) -> tuple[str, ...]:
    plain = word.strip(".,;:!?()[]\"'").casefold()
    return plain, plain.removesuffix("s"), plain.removesuffix("es")


def _renamed(text: Text, old: str, new: str) -> Text:
    """Return a text of the class ``old`` as one of ``new``: the two names, with their articles, change places."""
    if not _name(old).search(text.value):
        return text
    value = text.value
    for name in sorted((old, new), key=len, reverse=True):  # "shirt" must not take "shirt dress" apart
        value = _name(name).sub(_OLD if name == old else _NEW, value)

    def other(match: re.Match[str]) -> str:
        name = new if match["was"] == _OLD else old
        article = match["article"]
        return f"{article[0]}{'n' if name[0].lower() in 'aeiou' else ''} {name}" if article else name

    return replace(text, value=_MARK.sub(other, value))
