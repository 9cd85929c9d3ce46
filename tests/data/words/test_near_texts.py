from __future__ import annotations

import re

import numpy as np
import pytest

from diptych.data.words import near_texts
from diptych.data.words.near_texts import BANDS, ROWS, band_hashes, exact_hashes, joined_words, words_of


def test_marks_and_case_do_not_matter_and_order_does() -> None:
    hashes = exact_hashes(
        [*map(joined_words, ("A dog, running!", "a DOG running", "a dog runs", "runs a dog", "a", ""))]
    )
    assert hashes[0] == hashes[1]
    assert len({*hashes.tolist()}) == 5
    assert not (hashes & np.uint64(1)).any()


def test_words_of_an_ascii_text_are_those_of_a_pattern() -> None:
    rng = np.random.default_rng(0)
    for text in ("".join(map(chr, rng.integers(0, 128, 40))) for _ in range(200)):
        words = re.findall(r"[^\W_]+", text.lower())
        assert (words_of(text), joined_words(text)) == (words, " ".join(words))
    assert joined_words("Caf\u00e9 noir, ok") == "caf\u00e9 noir ok"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("कुत्ता घास पर", ["कुत्ता", "घास", "पर"]),
        ("Cafe\u0301 à Zürich", ["café", "à", "zürich"]),
        ("두 마리 개", ["두", "마리", "개"]),
        ("犬がボールを", ["犬", "が", "ボ", "ー", "ル", "を"]),
        ("ｶﾞ", ["ガ"]),
        ("สุนัข", ["สุ", "นั", "ข"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("كَلْب يجري", ["كَلْب", "يجري"]),
        ("a狗b_c", ["a", "狗", "b", "c"]),
        ("🐶 !!", []),
    ],
)
def test_words_of_other_scripts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_words_differ_by_their_vowel_signs() -> None:
    assert words_of("कि") != words_of("की")


def test_texts_share_a_band_as_often_as_their_overlap_says() -> None:
    """Pairs of texts of known Jaccard similarity of their pairs of words, against 1 - (1 - J^ROWS)^BANDS."""
    rng = np.random.default_rng(0)
    for changed, n in ((1, 60), (4, 60), (12, 60)):
        shared = 0
        pairs = 300
        texts = []
        for _ in range(pairs):
            words = [f"w{x}" for x in rng.integers(0, 10**9, n)]
            texts += [words, words[: n - changed] + [f"v{x}" for x in rng.integers(0, 10**9, changed)]]
        hashes = band_hashes(texts)
        shared = (hashes[::2] == hashes[1::2]).any(axis=1).mean()
        similarity = (n - 1 - changed) / (n - 1 + changed)
        assert shared == pytest.approx(1 - (1 - similarity**ROWS) ** BANDS, abs=0.08)


def test_chunks_change_nothing_and_texts_without_words_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [["a"], [], ["a", "b", "c"], ["a", "b"] * 20, []]
    whole = band_hashes(texts)
    monkeypatch.setattr(near_texts, "_CHUNK", 3)
    assert (band_hashes(texts) == whole).all()
    assert (whole % 2 == 1).all()
    assert (whole[1] == 1).all()
    assert (whole[0] != 1).any()
    assert band_hashes([]).shape == (0, BANDS)
