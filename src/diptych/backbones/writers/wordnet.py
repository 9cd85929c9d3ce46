"""Descriptions from WordNet: definition, hypernyms and parts of a noun, without a model or network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from diptych.core import Ask, Text
from diptych.data.words.wordnet import Synset, WordNet

WRITER, DATE = "wordnet-3.0", "2006"


@dataclass(frozen=True)
class WordNetWriter:
    """Writes about nouns: first the definition, then broader words, then parts.

    Args:
        words: the noun table.
        senses: class name -> offset of the synset that is meant. Other names take their most frequent sense that is a
            kind of thing and no proper name; that may be another than you mean ("crane"): read the definitions.

    Raises:
        UsageError: on writing, WordNet has no synset of a stated offset.

    Example:
        >>> writer = WordNetWriter(WordNet.load())
        >>> [text.value for text in writer.write([Ask(about="sparrow", n=2)])[0]]
        ['sparrow, any of several small dull-colored singing birds feeding on seeds or insects', 'sparrow, a kind of
        passerine']
    """

    words: WordNet
    senses: Mapping[str, int] = field(default_factory=dict)

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return up to n texts of each request's ``about``, or of its prompt where that is empty.

        They are [] where WordNet has no such noun.
        """
        return [
            [Text(t, WRITER, ask.prompt, DATE) for t in islice(self._texts(ask.about or ask.prompt), ask.n)]
            for ask in asks
        ]

    def _texts(self, name: str) -> Iterator[str]:
        synset = self._synset(name)
        if synset is None:
            return
        yield f"{name}, {synset.definition}"
        relation = "an instance of" if synset.instance else "a kind of"
        yield from (f"{name}, {relation} {self.words.synset(o).name}" for o in synset.hypernyms)
        yield from (f"{name}, which has {_with_article(self.words.synset(o).name)}" for o in synset.parts)

    def _synset(self, name: str) -> Synset | None:
        if name in self.senses:
            return self.words.synset(self.senses[name])
        return min(self.words.senses(name), key=lambda sense: sense.instance, default=None)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
