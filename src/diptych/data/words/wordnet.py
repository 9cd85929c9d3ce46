"""The nouns of WordNet 3.0: senses, glosses, hypernyms, hyponyms and parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Synset:
    """One sense: its words, its gloss and the offsets of related synsets.

    Args:
        offset: number of the synset in WordNet 3.0; ImageNet's id is "n" and these 8 digits.
        lemmas: its words, the most frequent first, with spaces.
        gloss: definition and examples.
        hypernyms: broader synsets, including those that it is an instance of.
        hyponyms: narrower synsets, ascending.
        parts: synsets of its parts (meronyms).
        instance: True for a proper name ("Einstein" is an instance of a physicist, not a kind of one).
    """

    offset: int
    lemmas: tuple[str, ...]
    gloss: str
    hypernyms: tuple[int, ...]
    hyponyms: tuple[int, ...]
    parts: tuple[int, ...]
    instance: bool

    @property
    def name(self) -> str:
        """The first lemma."""
        return self.lemmas[0]

    @property
    def definition(self) -> str:
        """The gloss without its examples."""
        return self.gloss.split('; "')[0]

    @property
    def wnid(self) -> str:
        """ImageNet's id, such as "n02084071"."""
        return f"n{self.offset:08d}"


class WordNet:
    """The noun table. ``WordNet.load()`` reads it, which takes about half a second.

    Args:
        table: one row a synset with ascending offsets, as written by ``tools/build_wordnet.py``.

    Source: WordNet 3.0, Princeton University, 2006.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.offsets: NDArray[np.int64] = table.column("offset").to_numpy().astype(np.int64)

    @classmethod
    def load(cls) -> WordNet:
        """Read the table in the package."""
        import pyarrow.parquet as pq

        path = files("diptych") / "data" / "words" / "wordnet_nouns.parquet"
        return cls(pq.read_table(str(path), memory_map=True).combine_chunks())

    def __len__(self) -> int:
        return len(self.offsets)

    def names(self) -> list[str]:
        """Return the first lemma of every synset, in the order of their numbers."""
        lemmas = self._table.column("lemmas").combine_chunks()
        names: list[str] = lemmas.flatten().take(lemmas.offsets.slice(0, len(self))).to_pylist()
        return names

    def __contains__(self, lemma: str) -> bool:
        return _folded(lemma) in self._index

    def senses(self, lemma: str) -> list[Synset]:
        """Return the senses of a word or phrase, the most frequent first; [] where WordNet has none.

        Args:
            lemma: singular; case does not matter, "_" is a space.
        """
        return [self._synset(row) for _, row in sorted(self._index.get(_folded(lemma), ()))]

    def synset(self, offset: int) -> Synset:
        """Return a synset by its number.

        Raises:
            UsageError: WordNet 3.0 has no noun of this number.
        """
        row = int(np.searchsorted(self.offsets, offset))
        if row == len(self) or self.offsets[row] != offset:
            raise UsageError(
                f"WordNet 3.0 has no noun n{offset:08d}: check the number, and that it comes from version 3.0."
            )
        return self._synset(row)

    def wnid(self, wnid: str) -> Synset:
        """Return the synset of an ImageNet id such as "n02084071".

        Raises:
            UsageError: not an id of a WordNet 3.0 noun.
        """
        if not (len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdecimal()):
            raise UsageError(f"{wnid!r} is no ImageNet id: give 'n' and 8 digits, such as n02084071.")
        return self.synset(int(wnid[1:]))

    def ancestors(self, offset: int) -> tuple[int, ...]:
        """Return all broader synsets, the nearest first, each once.

        Raises:
            UsageError: WordNet 3.0 has no noun of this number.
        """
        seen: dict[int, None] = {}
        edge = self.synset(offset).hypernyms
        while edge:
            seen.update(dict.fromkeys(edge))
            edge = tuple(dict.fromkeys(up for o in edge for up in self.synset(o).hypernyms if up not in seen))
        return tuple(seen)

    def general_words(self) -> tuple[str, ...]:
        """Return the common nouns of one word that have hyponyms, each once, sorted: about 9,500.

        They are first lemmas of synsets. Proper names are left out.
        """
        starts, _ = self._narrower
        lemmas, instance = self._table.column("lemmas"), self._table.column("instance")
        rows = np.flatnonzero(np.diff(starts) > 0)
        first = {lemmas[int(r)].as_py()[0] for r in rows if not instance[int(r)].as_py()}
        return tuple(sorted(w for w in first if len(w) > 2 and w.isascii() and w.isalpha() and w.islower()))

    def _synset(self, row: int) -> Synset:
        def cell(name: str) -> Any:
            return self._table.column(name)[row].as_py()

        starts, narrower = self._narrower
        return Synset(
            offset=int(self.offsets[row]),
            lemmas=tuple(cell("lemmas")),
            gloss=cell("gloss"),
            hypernyms=tuple(cell("hypernyms")),
            hyponyms=tuple(int(o) for o in narrower[starts[row] : starts[row + 1]]),
            parts=tuple(cell("parts")),
            instance=cell("instance"),
        )

    @cached_property
    def _index(self) -> dict[str, list[tuple[int, int]]]:
        """Folded lemma -> (rank of the sense, row)."""
        lemmas = self._table.column("lemmas").combine_chunks()
        ranks = self._table.column("ranks").combine_chunks()
        rows = np.repeat(np.arange(len(self)), np.diff(lemmas.offsets.to_numpy()))
        index: dict[str, list[tuple[int, int]]] = {}
        for lemma, rank, row in zip(
            lemmas.flatten().to_pylist(), ranks.flatten().to_pylist(), rows.tolist(), strict=True
        ):
            index.setdefault(_folded(lemma), []).append((rank, row))
        return index

    @cached_property
    def _narrower(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start of each row's hyponyms, and all hyponyms row by row, from the hypernym links."""
        links = self._table.column("hypernyms").combine_chunks()
        lower = np.repeat(self.offsets, np.diff(links.offsets.to_numpy()))
        upper = np.searchsorted(self.offsets, links.flatten().to_numpy())
        starts = np.concatenate([[0], np.cumsum(np.bincount(upper, minlength=len(self)))])
        return starts, lower[np.argsort(upper, kind="stable")]


def _folded(lemma: str) -> str:
    return lemma.lower().replace("_", " ")
