"""Find which entries of a list occur in a text as whole words, for many texts at once.

    w_i = hash of word i;   h_{i,1} = w_i,   h_{i,k+1} = mix(h_{i,k}, w_{i+k})

h_{i,k}: hash of the k words from word i on. It is looked up among the hashes of all beginnings of entries, and only
where it is one of them are more words taken. One occurrence of each entry in each text is then compared byte by byte.

All steps are NumPy's, on a few thousand texts at a time: no object is made for a match, and threads run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MARKS = ",.;:?!`"
_SPACED = {ord(c): f" {c} " for c in MARKS} | {ord(c): " " for c in "\t\n\r\0"}
_BLANKED = bytes.maketrans(b"\t\n\r", b"   ")
_BASE = 0x9E3779B97F4A7C15
_STEP = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
PART = 2**19
"""Characters of texts that are matched at once: their words and hashes then fit a processor's cache."""
_PAD = 8
"""Bytes behind texts and entries that no match reads as its own."""
_LOW = np.array([2 ** (8 * count) - 1 for count in range(9)], dtype=np.uint64)
"""Number of bytes -> mask of the lowest bytes of a number."""

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


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

    Example:
        >>> rows, entries = Matcher(("dog", "hot dog", "cat")).match(["a hot dog, a cat", "hotdog", "dog"])
        >>> rows.tolist(), entries.tolist()
        ([0, 0, 0, 2], [0, 1, 2, 0])
    """

    entries: tuple[str, ...]

    @cached_property
    def _index(self) -> _Index:
        return _index_of(self.entries)

    def __reduce__(self) -> tuple[type[Matcher], tuple[tuple[str, ...]]]:
        return type(self), (self.entries,)  # the index is built anew in another process

    def match(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Return (rows, entries): (P,) numbers of texts and of entries that match.

        Each pair is returned once, sorted by text and entry.
        """
        parts = [self._matched(texts[start:stop], start) for start, stop in pairwise(_cuts(texts))]
        if not parts:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        rows, entries = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(entries)

    def _matched(self, texts: Sequence[str], first: int) -> tuple[Ints, Ints]:
        """Return the pairs of some texts, of which the first has the number ``first``."""
        data, spaces = _spaced(texts)
        words, numbers = self._index.find(data, spaces)
        rows = np.cumsum(data[spaces[:-1] + 1] == 0)[words]  # a NUL stands after each text but the last
        pairs, starts = rows * len(self.entries) + numbers, spaces[words] + 1
        one = _one_of_each(pairs)
        if not self._index.verified(data, starts[one], numbers[one]).all():  # another occurrence may be the entry
            whole = np.flatnonzero(self._index.verified(data, starts, numbers))
            one = whole[_one_of_each(pairs[whole])]
        return rows[one] + first, numbers[one]


def _one_of_each(values: Ints) -> Ints:
    """Return a position of each distinct value, by ascending value."""
    bits, positions = len(values).bit_length() + 1, np.arange(len(values))
    slots = (values.astype(np.uint64) * _STEP >> np.uint64(64 - bits)).astype(np.int64)
    last = np.zeros(1 << bits, dtype=np.int64)
    last[slots] = positions
    last = last[slots]
    few = positions[(last == positions) | (values[last] != values)]  # most copies are gone: a sort takes far longer
    few = few[np.argsort(values[few])]
    ordered = values[few]
    first: Ints = few[np.append(True, ordered[1:] != ordered[:-1])[: len(few)]]
    return first


def _cuts(texts: Sequence[str]) -> list[int]:
    """Return where parts of about ``PART`` characters begin, and the end of the last one; [0] where there is none."""
    ends = np.cumsum(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
    if not len(ends):
        return [0]
    return [0, *(np.flatnonzero(np.diff(ends // PART)) + 1).tolist(), len(texts)]


@dataclass(frozen=True)
class _Index:
    """Beginnings of entries by hash.

    Args:
        keys: (S,) hashes in open addressing, 0 where there is none; S is a power of 2.
        meaning: (S,) 2 e + l of a beginning that is entry e, or e = -1 where it is none; l = 1 where an entry goes on
            after it, else 0.
        content: bytes of all entries.
        offsets: (M + 1,) where each of them begins.
        longest: bytes of the longest word of an entry.
    """

    keys: Hashes
    meaning: NDArray[np.int32]
    content: Bytes
    offsets: Ints
    longest: int

    @classmethod
    def of(cls, entries: Sequence[str]) -> _Index:
        coded = [entry.encode("utf-8", "surrogatepass") for entry in entries]
        joined, lengths = b"".join(coded), np.fromiter(map(len, coded), dtype=np.int64, count=len(coded))
        content = np.frombuffer(joined + bytes(_PAD), dtype=np.uint8)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        usable = np.flatnonzero(lengths)
        if b"\0" in joined:  # a NUL stands between texts, so no entry with one can match
            usable = np.array([i for i in usable.tolist() if b"\0" not in coded[i]], dtype=np.int64)
        between = b" \0 ".join(map(coded.__getitem__, usable.tolist()))
        data = np.frombuffer(b" " + between + b" " + bytes(_PAD), dtype=np.uint8)
        spaces = np.flatnonzero(data == 32)
        longest = int(np.diff(spaces).max()) - 1
        words, lasts = _word_hashes(data, spaces, longest), np.searchsorted(spaces, np.flatnonzero(data[:-_PAD] == 0))
        begin = np.append(0, lasts)[: len(usable)]
        counts = np.append(lasts - 1, len(words))[: len(usable)] - begin
        levels = list[tuple[Hashes, Ints, NDArray[np.bool_]]]()
        live, hashes = np.arange(len(usable)), words[begin]
        while len(live):
            length = len(levels) + 1
            levels.append((hashes, np.where(counts[live] == length, usable[live], -1), counts[live] > length))
            on = counts[live] > length
            live = live[on]
            hashes = _joined(hashes[on], words[begin[live] + length])
        columns_of = [np.concatenate(columns) for columns in zip(*levels, strict=True)] if levels else []
        table = _addressed(*columns_of) if columns_of else _addressed(*map(np.array, ([], [], [])))
        return cls(*table, content, offsets, longest)

    def find(self, data: Bytes, spaces: Ints) -> tuple[Ints, Ints]:
        """Return the words of normalised texts at which entries begin by their hashes, and which entries they are, (L,)
        each.
        """
        words = _word_hashes(data, spaces, self.longest)
        first, hashes = np.arange(len(words)), words
        firsts, numbers = list[Ints](), list[Ints]()
        length = 1
        while len(first):
            there, slots = self._slots(hashes)
            first, meaning = first[there], self.meaning[slots]
            whole = np.flatnonzero(meaning >= 0)
            firsts.append(first[whole])
            numbers.append(meaning[whole] >> 1)
            on = np.flatnonzero((meaning & 1) & (first < len(words) - length))
            first = first[on]
            hashes = _joined(hashes[there[on]], words[first + length])
            length += 1
        return np.concatenate(firsts), np.concatenate(numbers, dtype=np.int64)

    def _slots(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Return the positions of the hashes that are known, and their slots."""
        bits = len(self.keys).bit_length() - 1
        slots = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        keys = self.keys[slots]
        same = keys == hashes
        pending = np.flatnonzero(~same & (keys != 0))
        while len(pending):
            slots[pending] = (slots[pending] + 1) & (len(self.keys) - 1)
            keys = self.keys[slots[pending]]
            same[pending] = keys == hashes[pending]
            pending = pending[(keys != hashes[pending]) & (keys != 0)]
        there = np.flatnonzero(same)
        return there, slots[there]

    def verified(self, data: Bytes, starts: Ints, numbers: Ints) -> NDArray[np.bool_]:
        """Return of which matches the bytes are those of the entry; hashes of other words are the same once in
        2^64.
        """
        left = self.offsets[numbers + 1] - self.offsets[numbers]
        text, entry = _eights(data), _eights(self.content)
        same: NDArray[np.bool_] = data[np.minimum(starts + left, len(data) - 1)] == 32
        pending, at = np.flatnonzero(same), 0
        while len(pending):
            unlike = text[starts[pending] + at] ^ entry[self.offsets[numbers[pending]] + at]
            unlike <<= 8 * np.maximum(8 - left[pending], 0).astype(np.uint64)  # bytes behind the entry do not count
            same[pending[unlike != 0]] = False
            left, at = left - 8, at + 8
            pending = pending[(unlike == 0) & (left[pending] > 0)]
        return same


def _eights(data: Bytes) -> NDArray[np.uint64]:
    """Return eight bytes from each position on as one little-endian number; ``data`` has ``_PAD`` bytes more."""
    return np.ndarray((len(data) - _PAD + 1,), dtype="<u8", buffer=data, strides=(1,))


def _addressed(hashes: Hashes, entry: Ints, longer: NDArray[np.bool_]) -> tuple[Hashes, NDArray[np.int32]]:
    """Return keys and meanings in open addressing, from the entries of beginnings and whether there are longer ones."""
    order = np.argsort(hashes, kind="stable")
    unique, first = np.unique(hashes[order].astype(np.uint64), return_index=True)
    bits = max(4, (4 * len(unique)).bit_length())
    keys, meanings = np.zeros(1 << bits, dtype=np.uint64), np.full(1 << bits, -2, dtype=np.int32)
    if not len(unique):
        return keys, meanings
    largest = np.maximum.reduceat(entry[order].astype(np.int64), first)
    more = np.logical_or.reduceat(longer[order].astype(bool), first)
    pending, slots = np.arange(len(unique)), (unique >> np.uint64(64 - bits)).astype(np.int64)
    while len(pending):
        free = np.flatnonzero(keys[slots] == 0)
        taken = free[np.unique(slots[free], return_index=True)[1]]  # of several that want a slot, the first
        at, which = slots[taken], pending[taken]
        keys[at], meanings[at] = unique[which], 2 * largest[which] + more[which]
        rest = np.ones(len(pending), dtype=bool)
        rest[taken] = False
        pending, slots = pending[rest], (slots[rest] + 1) & (len(keys) - 1)
    return keys, meanings


@lru_cache(maxsize=1)
def _index_of(entries: tuple[str, ...]) -> _Index:
    """Return the index of some entries; a pass that applies a plan takes that of the pass that planned."""
    return _Index.of(entries)


def _spaced(texts: Sequence[str]) -> tuple[Bytes, Ints]:
    """Return normalised texts as bytes, a NUL between them and ``_PAD`` behind, and where their spaces are."""
    joined = " \0 ".join(texts)
    if joined.count("\0") >= len(texts):
        joined = " \0 ".join(text.replace("\0", " ") for text in texts)
    coded = f" {joined} ".encode("utf-8", "surrogatepass").translate(_BLANKED)
    for mark in MARKS.encode():
        coded = coded.replace(bytes([mark]), bytes([32, mark, 32]))
    data = np.frombuffer(coded + bytes(_PAD), dtype=np.uint8)
    return data, np.flatnonzero(data == 32)


def _word_hashes(data: Bytes, spaces: Ints, longest: int) -> Hashes:
    """Return the hash of what stands between each two neighbouring spaces; that of more than ``longest`` bytes is 1."""
    starts, left, eights = spaces[:-1] + 1, np.diff(spaces) - 1, _eights(data)
    hashes = _mixed(eights[starts] & _LOW[np.minimum(left, 8)])
    pending, at = np.flatnonzero(left > 8), 8
    while len(pending) and at < longest:
        hashes[pending] = _joined(
            hashes[pending], eights[starts[pending] + at] & _LOW[np.minimum(left[pending] - at, 8)]
        )
        at += 8
        pending = pending[left[pending] > at]
    hashes[(hashes == 0) | (left > longest)] = 1  # 0 marks an empty slot
    return hashes


def _joined(hashes: Hashes, words: Hashes) -> Hashes:
    """Return the hash of some words and one more."""
    out = _mixed(hashes * np.uint64(_BASE) + words)
    out[out == 0] = 1
    return out


def _mixed(x: Hashes) -> Hashes:
    x = (x ^ (x >> _SHIFT)) * _STEP
    x = (x ^ (x >> _SHIFT)) * _STEP
    return np.asarray(x ^ (x >> _SHIFT))
