"""How well an index answers words for things that it does not show: the scores that a cut must lie above.

folder/absent.json      {"schema": 1, "entries": of the index then, "words": [...], "ranks": [...], "scores": [[...]]}

The words are nouns that no caption, label, folder or file name of the index holds, see ``tasks.search.absent``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, DamagedStore, DataError, Run, Texts
from diptych.data.words.classnames import tidy
from diptych.data.words.nouns import singular
from diptych.data.words.wordnet import WordNet
from diptych.features.embed import embed_arrays
from diptych.features.unit_rows import unit_rows
from diptych.metrics.cut import STRATA, AbsentScores, Floats
from diptych.search_index.described import Vectors
from diptych.search_index.notes import read_note, write_note
from diptych.search_index.opening import AnyIndex

FILE = "absent.json"
WORDS = 400
"""Most words that are drawn: at a level of 0.9, 29 of them may have an answer."""
RANKS = (1, 2, 5, 10, *STRATA[:2], 100, STRATA[-1])
"""Ranks of the answers whose scores are kept."""
GROWN = 2
"""Times that an index may grow before its absent words are drawn anew: the best of more pictures scores higher."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class AbsentWords:
    """The words that were drawn for an index.

    Args:
        entries: pictures of the index at that time.
        words: m nouns.
        scores: of their answers.
    """

    entries: int
    words: tuple[str, ...]
    scores: AbsentScores


def draw_absent(
    index: AnyIndex, backbone: Backbone | CachedBackbone, run: Run, present: Iterable[str] = ()
) -> AbsentWords:
    """Draw words for an index, and keep their scores in its folder.

    Args:
        index: the index.
        backbone: of the index.
        run: device, cache and seed.
        present: words that its captions, labels and file names do not hold, and its pictures show.

    Raises:
        DataError: the index has no pictures.
    """
    texts = [*_texts(index), *present]
    words = absent_nouns(texts, WordNet.load(), WORDS, run.integer("absent words"))
    vectors = encoded(words, backbone, run) if words else np.zeros((0, index.dim), np.float32)
    scores, entries = top_scores(index, vectors, STRATA[-1])
    if not entries:
        raise DataError(f"{index.folder} holds no pictures, and a cut is made for searches of pictures.")
    places = np.array(RANKS) - 1
    whole = np.full((len(words), STRATA[-1]), -np.inf)
    whole[:, : scores.shape[1]] = scores
    drawn = AbsentWords(entries, tuple(words), AbsentScores(RANKS, whole[:, places]))
    up = np.ceil(drawn.scores.scores * 1e6) / 1e6  # rounded down, a cut would lie below the word itself
    rows = [[round(float(v), 6) if np.isfinite(v) else None for v in row] for row in up]
    content = {"schema": 1, "entries": entries, "ranks": RANKS, "words": words, "scores": rows}
    write_note(index.folder, FILE, json.dumps(content, ensure_ascii=False))
    return drawn


def read_absent(folder: Path | str) -> AbsentWords | None:
    """Return the words that were drawn for an index; None: none were.

    Raises:
        DamagedStore: the file is damaged.
    """
    try:
        text = read_note(folder, FILE)
        return None if text is None else _read(text)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        raise DamagedStore(
            f"{folder}/{FILE} is damaged: remove it, and mark answers again with 'diptych index --cut'."
        ) from None


@lru_cache(maxsize=8)
def _read(text: str) -> AbsentWords:
    """Return what a file holds; a search reads it each time, and a server the same ones."""
    content = json.loads(text)
    rows = [[-np.inf if v is None else float(v) for v in row] for row in content["scores"]]
    ranks = tuple(int(r) for r in content["ranks"])
    scores = np.array(rows, dtype=np.float64).reshape(-1, len(ranks))
    if content["schema"] != 1 or ranks[0] != 1 or len(scores) != len(content["words"]):
        raise ValueError
    return AbsentWords(int(content["entries"]), tuple(content["words"]), AbsentScores(ranks, scores))


def encoded(texts: list[str], backbone: Backbone | CachedBackbone, run: Run) -> Vectors:
    """Return the (n, D) unit vectors of texts."""
    values = embed_arrays(backbone.text, Texts(tuple(texts)), run).values[:, 0].astype(np.float64)
    return unit_rows(values).astype(np.float32)


def top_scores(index: AnyIndex, queries: Vectors, depth: int) -> tuple[Floats, int]:
    """Return the (m, depth or fewer) highest scores of pictures for m queries, descending, and the number of pictures;
    a block of pictures is in memory at once.
    """
    best, count = np.zeros((len(queries), 0)), 0
    for block in index.blocks("image"):
        count += len(block)
        both = np.hstack([best, queries @ block.T])
        best = -np.sort(-both, axis=1)[:, :depth]
    return best, count


def _texts(index: AnyIndex) -> Iterator[str]:
    for part in index.places("image", size=index.chunk):
        for entry in index.entries(part[:, 0].tolist()).values():
            yield entry.caption
            yield from (value for value in entry.facts.values() if isinstance(value, str))
            yield _DIGITS.sub(" ", Path(entry.name.rpartition("!")[2]).stem)


_WORD = re.compile(r"[a-z]+")
SENSES = 2
"""Senses of a word of the collection that count: "crane" is a bird and a machine."""
LEVELS = 2
"""Levels below a word of the collection that count: a caption with "dog" may mean a dachshund."""


def picture_nouns() -> list[str]:
    """Return common nouns for things that a photo shows as a whole, sorted: 883, see ``recipes.picture_nouns``."""
    path = files("diptych") / "data" / "words" / "picture_nouns.txt"
    return path.read_text(encoding="utf-8").split()


def absent_nouns(
    texts: Iterable[str], wordnet: WordNet, count: int, seed: int, pool: Sequence[str] | None = None
) -> list[str]:
    """Return nouns that no text names, in an order that the seed fixes.

    A noun is left out where a text holds it, a narrower word, a word at most ``LEVELS`` broader, or what it is part of.

    Args:
        texts: captions, labels and file names of the collection.
        wordnet: tells what is broader and narrower.
        count: most nouns.
        seed: draws them.
        pool: nouns of WordNet to draw from; None: ``picture_nouns``.

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
    for noun in picture_nouns() if pool is None else pool:
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
