"""Words as tokens: the vocabulary of a small language model that learns from a few thousand sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from diptych.core import UsageError

PAD = 0
"""Id that fills up short sequences."""

BEGIN = 1
"""Id that begins a text."""

END = 2
"""Id that ends a text."""

UNKNOWN = 3
"""Id of all words that are not in the vocabulary."""

_SYMBOL = "[\u231a-\u23ff\u25aa-\u27bf\u2b05-\u2b55\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
_PICTURE = f"{_SYMBOL}[\ufe0f\U0001f3fb-\U0001f3ff]?"  # with its variant or colour of skin
_EMOJI = f"[\U0001f1e6-\U0001f1ff]{{2}}|{_PICTURE}(?:\u200d{_PICTURE})*"  # a flag, or pictures that are joined to one
_TOKEN = re.compile(rf"[\w']+|,|[!#]|{_EMOJI}")
_LATER = re.compile(rf"[!#]|{_EMOJI}")
"""Tokens that vocabularies of earlier versions do not have; in their texts these were left out."""


@dataclass(frozen=True)
class Vocabulary:
    """Words with ids from 4 on; 0 pads, 1 begins, 2 ends, 3 stands for all other words.

    Args:
        words: in the order of their ids.

    Example:
        >>> vocabulary = Vocabulary.of(["a cat", "a dog"])
        >>> vocabulary.encode("a red cat", limit=8)
        [1, 4, 3, 5, 2]
        >>> vocabulary.decode([1, 4, 5, 2])
        'A cat.'
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], least: int = 1) -> Vocabulary:
        """Return the words that occur at least ``least`` times, the most frequent first.

        Raises:
            UsageError: there is no such word.
        """
        counts = Counter(word for text in texts for word in split(text))
        words = tuple(w for w, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= least)
        if not words:
            raise UsageError("These sentences hold no word: give text in letters.")
        return cls(words)

    def __len__(self) -> int:
        return len(self.words) + 4

    @cached_property
    def number(self) -> dict[str, int]:
        """Word -> its id."""
        return {word: i for i, word in enumerate(self.words, 4)}

    def encode(self, text: str, limit: int) -> list[int]:
        """Return the beginning, at most ``limit`` words, and the end if the whole text fits.

        "!", "#" and emoji that are not in the vocabulary are left out; other words have the id ``UNKNOWN``.
        """
        words = [word for word in split(text) if word in self.number or not _LATER.fullmatch(word)]
        ids = [self.number.get(word, UNKNOWN) for word in words]
        return [BEGIN, *ids[:limit], *([END] if len(ids) <= limit else [])]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words up to the end, with a capital and a full stop; other special ids are left out.

        After "!" or an emoji there is no full stop.
        """
        text = self.plain(ids)
        stop = "." if text and (text[-1] in "_'," or text[-1].isalnum()) else ""
        return text[:1].upper() + text[1:] + stop

    def plain(self, ids: Sequence[int]) -> str:
        """Return the words up to the end in lower case, without a full stop; other special ids are left out."""
        written: list[str] = []
        for i in ids:
            if i == END:
                break
            if i >= 4:
                written.append(self.words[i - 4])
        return join(written)


def split(text: str) -> list[str]:
    """Return lower-case words, and commas, "!", "#" and emoji, each a token of its own.

    Example:
        >>> split("Wow! A fox at #dawn 🦊.")
        ['wow', '!', 'a', 'fox', 'at', '#', 'dawn', '🦊']
    """
    return _TOKEN.findall(text.lower())


def join(words: Sequence[str]) -> str:
    """Return tokens as a text: commas and "!" stand at the word before, "#" at the word after.

    Example:
        >>> join(["wow", "!", "a", "fox", "at", "#", "dawn"])
        'wow! a fox at #dawn'
    """
    return re.sub(r" (?=[,!])|(?<=#) (?=\w)", "", " ".join(words))
