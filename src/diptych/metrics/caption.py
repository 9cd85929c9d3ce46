"""Metrics of captions: BLEU, ROUGE-L and CIDEr-D over words, CLIPScore and RefCLIPScore over embeddings.

All are better when higher, but for the repetitions in a caption, which tell with the distinct n-grams how captions are
worded, whatever they are about, and need no reference.

Words are lower-case runs of letters, digits and apostrophes; punctuation is dropped, as in coco-caption. On the same
tokens the scores equal coco-caption's. Its tokeniser, of the Penn Treebank, splits contractions differently, so that
scores of a text may differ in the third digit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

Floats = NDArray[np.float64]
Grams = Counter[tuple[str, ...]]

_WORD = re.compile(r"[\w']+")


def tokens(text: str) -> list[str]:
    """Return the words of a caption, in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """Return corpus BLEU-n in [0, 1], without smoothing.

        BLEU = min(1, exp(1 - r / c)) * (p_1 ... p_n)^(1/n)

    p_k: clipped precision of the k-grams over all candidates; where one is 0, so is BLEU
    c: number of words of all candidates
    r: number of words of the references, of each item the one closest in length

    Args:
        candidates: N captions.
        references: N lists of at least one caption.
        n: longest n-gram (4).

    Raises:
        DataError: sizes differ, or an item has no reference.

    Source: Papineni et al. 2002; ties in length go to the shorter reference.
    """
    captions, others = _tokenised(candidates, references)
    hits, totals, length, closest = np.zeros(n), np.zeros(n), 0, 0
    for words, refs in zip(captions, others, strict=True):
        length += len(words)
        closest += min((abs(len(r) - len(words)), len(r)) for r in refs)[1]
        for k in range(1, n + 1):
            best: Grams = Counter()
            for r in refs:
                best |= _grams(r, k)
            mine = _grams(words, k)
            hits[k - 1] += (mine & best).total()
            totals[k - 1] += mine.total()
    if not hits.all():
        return 0.0
    return float(min(1.0, math.exp(1 - closest / length)) * np.exp(np.log(hits / totals).mean()))


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]], beta: float = 1.2) -> Floats:
    """Return ROUGE-L of each candidate, (N,) in [0, 1]; its mean is the score of a corpus.

        P = max over references of LCS / |candidate|,  R = max of LCS / |reference|
        F = (1 + beta^2) P R / (R + beta^2 P)

    Precision and recall are maximised apart, as in coco-caption.

    Args:
        candidates: N captions.
        references: N lists of at least one caption.
        beta: weight of recall (1.2).

    Raises:
        DataError: sizes differ, or an item has no reference.

    Source: Lin 2004, section 2; coco-caption for the maxima and beta.
    """
    scores = []
    for words, refs in zip(*_tokenised(candidates, references), strict=True):
        common = [(_longest(words, r), len(r)) for r in refs]
        p, r = max(c / max(1, len(words)) for c, _ in common), max(c / max(1, size) for c, size in common)
        scores.append((1 + beta**2) * p * r / (r + beta**2 * p) if p and r else 0.0)
    return np.array(scores)


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return CIDEr-D of each candidate, (N,) in [0, 10]; its mean is the score of a corpus.

        g_k(x)  = tf-idf vector of the k-grams of x; idf from the references of all N items:
                  log(N) - log(max(1, number of items whose references have it))
        CIDEr-D = 10 / 4 sum_{k <= 4} mean over references s of
                  [ exp(-(|c| - |s|)^2 / (2 * 6^2)) min(g_k(c), g_k(s)) . g_k(s) / (|g_k(c)| |g_k(s)|) ]

    c: the candidate;  |c|, |s|: numbers of words;  |g_k|: Euclidean length

    Scores of different item sets are not comparable, since the idf depends on the set. With one item the score is 0.

    Args:
        candidates: N captions.
        references: N lists of at least one caption.

    Raises:
        DataError: sizes differ, or an item has no reference.

    Source: Vedantam et al. 2015, sections 3 and 4; coco-caption for counts of words as lengths and raw counts as tf.
    """
    captions, others = _tokenised(candidates, references)
    holding = [Counter(g for refs in others for g in {g for r in refs for g in _grams(r, k)}) for k in range(1, 5)]

    def weighted(words: Sequence[str], k: int) -> dict[tuple[str, ...], float]:
        return {
            g: count * (math.log(len(captions)) - math.log(max(1, holding[k - 1][g])))
            for g, count in _grams(words, k).items()
        }

    scores = []
    for words, refs in zip(captions, others, strict=True):
        total = 0.0
        for k in range(1, 5):
            mine = weighted(words, k)
            for r in refs:
                other = weighted(r, k)
                penalty = math.exp(-((len(words) - len(r)) ** 2) / (2 * 6**2))
                total += penalty * _cosine(mine, other) / len(refs)
        scores.append(10 * total / 4)
    return np.array(scores)


def clip_score(images: NDArray[Any], texts: NDArray[Any], weight: float = 2.5) -> Floats:
    """Return CLIPScore of each pair, (N,) in [0, weight]: weight max(cos, 0).

    The embeddings should come from another backbone than the captioner's.

    Args:
        images: (N, D) embeddings of the images, of any length.
        texts: (N, D) embeddings of the captions, in the same order.
        weight: factor of the cosine (2.5, the paper's).

    Raises:
        DataError: sizes differ.

    Source: Hessel et al. 2021, section 3. The caller adds the prefix "A photo depicts".
    """
    if images.shape != texts.shape:
        raise DataError(f"Images and texts must be of one size, got {images.shape} and {texts.shape}.")
    x, t = images.astype(np.float64), texts.astype(np.float64)
    cosine = (x * t).sum(-1) / np.maximum(np.linalg.norm(x, axis=-1) * np.linalg.norm(t, axis=-1), 1e-12)
    return weight * np.maximum(cosine, 0)


def ref_clip_score(images: NDArray[Any], texts: NDArray[Any], references: Sequence[NDArray[Any]]) -> Floats:
    """Return RefCLIPScore of each pair, (N,) in [0, 10 / 7]; higher is better.

        RefCLIP-S = 2 a b / (a + b),   a = CLIPScore,   b = max over references r of max(cos(t, r), 0)

    It is 0 where a or b is.

    Args:
        images: (N, D) embeddings of the images, of any length.
        texts: (N, D) embeddings of the captions.
        references: N arrays (R_i, D), R_i >= 1, of embedded references.

    Raises:
        DataError: sizes differ, or an item has no reference.

    Source: Hessel et al. 2021, section 3.
    """
    if len(references) != len(texts) or not all(len(vectors) for vectors in references):
        raise DataError(f"{len(texts)} captions need as many lists of at least one reference, got {len(references)}.")
    a = clip_score(images, texts)
    b = np.array(
        [
            clip_score(vectors, np.broadcast_to(t, vectors.shape), 1.0).max()
            for vectors, t in zip(references, texts, strict=True)
        ]
    )
    return 2 * a * b / np.maximum(a + b, 1e-12)


def _tokenised(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    if len(candidates) != len(references) or not len(candidates) or not all(references):
        raise DataError(
            f"{len(candidates)} captions need as many lists of at least one reference, and there are "
            f"{len(references)} lists."
        )
    return [tokens(c) for c in candidates], [[tokens(r) for r in group] for group in references]


def _grams(words: Sequence[str], k: int) -> Grams:
    return Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1))


def _longest(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def _cosine(mine: Mapping[tuple[str, ...], float], other: Mapping[tuple[str, ...], float]) -> float:
    """Return the product of the clipped and the plain vector over the lengths of both; 0 where a length is 0."""
    lengths = math.sqrt(sum(v * v for v in mine.values())) * math.sqrt(sum(v * v for v in other.values()))
    return sum(min(v, other.get(g, 0.0)) * other.get(g, 0.0) for g, v in mine.items()) / lengths if lengths else 0.0


def distinct(candidates: Sequence[str], n: int = 2) -> float:
    """Return distinct-n, in [0, 1]: different n-grams of n >= 1 words over all n-grams of all captions, at least one;
    higher is more varied.

    It falls with the number of captions, so only sets of one size compare. Without an n-gram it is 0.

    Raises:
        DataError: there is no caption, or n is below 1.

    Source: Li et al. 2016, section 4.3 (distinct-1 and distinct-2).

    Example:
        >>> distinct(["a red dog", "a red cat"], n=2)
        0.75
    """
    grams: Grams = Counter()
    for caption in _checked(candidates, n):
        grams += _grams(tokens(caption), n)
    return len(grams) / grams.total() if grams else 0.0


def repetition(candidates: Sequence[str], n: int = 1) -> Floats:
    """Return the share of n-grams, of n >= 1 words, of each of N captions that stood in it before, (N,) in [0, 1];
    lower is better.

    A caption without an n-gram gets 0.

    Raises:
        DataError: there is no caption, or n is below 1.

    Source: Welleck et al. 2020, section 6 (seq-rep-n), one sequence at a time.

    Example:
        >>> repetition(["a dog on a dog", "a red cat"]).tolist()
        [0.4, 0.0]
    """
    every = [_grams(tokens(caption), n) for caption in _checked(candidates, n)]
    return np.array([1 - len(grams) / grams.total() if grams else 0.0 for grams in every])


def _checked(candidates: Sequence[str], n: int) -> Sequence[str]:
    if not len(candidates) or n < 1:
        raise DataError(f"Wording is measured on captions and n-grams of n >= 1, got {len(candidates)} and n = {n}.")
    return candidates
