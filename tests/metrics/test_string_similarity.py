from __future__ import annotations

import sys

import numpy as np
import pytest

from diptych.core import MissingExtra
from diptych.metrics.string_similarity import jaccard, levenshtein

TEXTS = ["kitten", "sitting", "", "a", "kitchen"]


def edits(s: str, t: str) -> int:
    row = list(range(len(t) + 1))
    for i, a in enumerate(s, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(t, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_levenshtein_is_what_a_loop_counts() -> None:
    pytest.importorskip("rapidfuzz")
    found = levenshtein(TEXTS, TEXTS)
    for i, s in enumerate(TEXTS):
        for j, t in enumerate(TEXTS):
            assert found[i, j] == pytest.approx(1 - edits(s, t) / max(len(s), len(t)) if s and t else 0.0, abs=1e-6)


def test_texts_without_letters_are_like_none_on_either_side() -> None:
    pytest.importorskip("rapidfuzz")
    np.testing.assert_allclose(levenshtein(["", "ab"], ["ab", "b", ""]), [[0, 0, 0], [1, 0.5, 0]])


def test_jaccard_is_what_sets_say() -> None:
    def grams(t: str) -> set[str]:
        return {t[i : i + 3] for i in range(max(1, len(t) - 2))} - {""}

    found = jaccard(TEXTS, TEXTS)
    for i, s in enumerate(TEXTS):
        for j, t in enumerate(TEXTS):
            either = grams(s) | grams(t)
            assert found[i, j] == pytest.approx(len(grams(s) & grams(t)) / len(either) if either else 0.0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(MissingExtra, match="rapidfuzz"):
        levenshtein(["a"], ["b"])
