"""Find which entries of a list occur in a text, for many texts at once, by one Aho-Corasick automaton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import MissingExtra

_SPACED = {ord(c): f" {c} " for c in ",.;:?!`"} | {ord(c): " " for c in "\t\n\r\0"}


def normalised(text: str) -> str:
    """Return a text with a space at both ends and round each of , . ; : ? ! `; tabs and ends of lines become spaces.

    Other marks stay as they are, and spaces are not collapsed.
    """
    return f" {text.translate(_SPACED)} "


@dataclass(frozen=True)
class Matcher:
    """Finds entries in texts: e matches where " e " occurs in the normalised text.

    Case counts, and overlapping and nested entries all match.

    Args:
        entries: M texts, each once. One with a mark that ``normalised`` spaces ("u.s.") can match nothing.
    """

    entries: tuple[str, ...]

    @cached_property
    def _automaton(self) -> Any:
        try:
            from ahocorasick_rs import AhoCorasick, Implementation
        except ImportError:
            raise MissingExtra("ahocorasick-rs", "curate", "Matching metadata") from None
        return AhoCorasick([f" {e} " for e in self.entries], implementation=Implementation.ContiguousNFA)

    def __reduce__(self) -> tuple[type[Matcher], tuple[tuple[str, ...]]]:
        return type(self), (self.entries,)  # the automaton is built anew in another process

    def match(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows, entries): (P,) numbers of texts and of entries that match.

        Each pair is returned once, sorted by text and entry.

        Raises:
            MissingExtra: ahocorasick-rs is not installed.
        """
        # one call for all texts: the mark between them stands in no pattern, so no match crosses it
        normal = [normalised(t) for t in texts]
        matches = self._automaton.find_matches_as_indexes("\0".join(normal), overlapping=True)
        if not matches:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        ends = np.cumsum([len(t) + 1 for t in normal])
        pairs = np.array(matches, dtype=np.int64)
        unique = np.unique(np.searchsorted(ends, pairs[:, 1], side="right") * len(self.entries) + pairs[:, 0])
        return unique // len(self.entries), unique % len(self.entries)
