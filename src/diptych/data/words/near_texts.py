"""Which texts say the same: hashes of their words, and bands of min-hashes that near duplicates share.

    J(A, B) = |A n B| / |A u B|
    P(two texts share a band) = 1 - (1 - J^ROWS)^BANDS

A, B: sets of the pairs of neighbouring words of two texts, in lower case and without marks

With 8 bands of 8 rows the chance is 0.99 at J = 0.9, 0.77 at 0.8, 0.03 at 0.5.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BANDS, ROWS = 8, 8
Hashes = NDArray[np.uint64]
_PLAIN = re.compile(r"[^\W_]+")
_ASCII = bytes(ord(chr(i).lower()) if i < 128 and chr(i).isalnum() else ord(" ") for i in range(256))
"""Letters and digits in lower case, and a blank for every other byte."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Kana and Han: no spaces stand between words."""
_SEEDS: Hashes = np.random.default_rng(20_261_127).integers(0, 2**63, size=BANDS * ROWS, dtype=np.uint64)
_CHUNK = 2048  # pairs of words at a time: their numbers, 1 MiB, stay in the processor's cache


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case and in Unicode's compatibility form (NFKC), without punctuation.

    Vowel signs and accents belong to their letter. In scripts without spaces, each letter counts as a word.

    Example:
        >>> words_of("Two dogs, one_ball!")
        ['two', 'dogs', 'one', 'ball']
        >>> words_of("\u4e00\u53ea\u72d7\uff0c\u597d")
        ['一', '只', '狗', '好']
    """
    if text.isascii():
        return _blanked(text).split()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return (_PLAIN if max(folded) < "\u0300" else _word()).findall(folded)


def joined_words(text: str) -> str:
    """Return ``words_of`` with a blank between two words: no word of an English text is made for it.

    Example:
        >>> joined_words("Two dogs, one_ball!")
        'two dogs one ball'
    """
    if not text.isascii():
        return " ".join(words_of(text))
    joined = _blanked(text)
    while "  " in joined:
        joined = joined.replace("  ", " ")
    return joined.strip()


def _blanked(text: str) -> str:
    """Return an ASCII text in lower case with a blank for each mark: a third of the time of a pattern."""
    return text.encode("ascii").translate(_ASCII).decode("ascii")


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    marks = re.escape("".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M"))
    letter = rf"[^\W_{_UNSPACED}]"
    return re.compile(rf"{letter}+(?:[{marks}]+{letter}*)*|[^\W_][{marks}]*")


def exact_hashes(texts: Sequence[str]) -> Hashes:
    """Return (N,) hashes of the joined words of N texts; their lowest bits are 0."""
    digests = [hashlib.blake2b(t.encode("utf-8", "surrogateescape"), digest_size=8).digest() for t in texts]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64) & ~np.uint64(1)


def band_hashes(texts: Sequence[Sequence[str]]) -> Hashes:
    """Return the (N, BANDS) hashes of the bands of N lists of words; their lowest bits are 1.

    Texts of no words share nothing: their hashes are 1 in all bands, which is the hash of no text.

    Source: Broder 1997, "On the resemblance and containment of documents".
    """
    out = np.ones((len(texts), BANDS), dtype=np.uint64)
    pairs = [[_crc(" ".join(both)) for both in itertools.pairwise(w)] or [_crc(one) for one in w] for w in texts]
    filled = [i for i, pair in enumerate(pairs) if pair]
    start = 0
    while start < len(filled):  # some at a time: each pair of words takes BANDS * ROWS numbers
        stop, size = start, 0
        while stop < len(filled) and (stop == start or size + len(pairs[filled[stop]]) <= _CHUNK):
            size, stop = size + len(pairs[filled[stop]]), stop + 1
        rows = filled[start:stop]
        lengths = np.array([len(pairs[i]) for i in rows])
        shingles = np.array([x for i in rows for x in pairs[i]], dtype=np.uint64)
        least = np.minimum.reduceat(_mixed(shingles[:, None] ^ _SEEDS), np.cumsum(lengths) - lengths, axis=0)
        bands = least.reshape(len(rows), BANDS, ROWS)
        whole = np.broadcast_to(np.arange(BANDS, dtype=np.uint64), (len(rows), BANDS)).copy()
        for row in range(ROWS):
            whole = _mixed(whole ^ bands[:, :, row])
        out[rows] = whole | np.uint64(1)
        start = stop
    return out


def _crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogateescape"))


def _mixed(x: Hashes) -> Hashes:
    """Return well mixed 64 bits of each number (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
