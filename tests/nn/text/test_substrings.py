from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.nn.text import substrings
from diptych.nn.text.substrings import Matcher, normalised

WORDS = st.sampled_from(
    ["a", "b", "ab", "é", "日本", "cat", "cat ", " a", "b  a", "u.s.", "\t", "\0", "'s", "abcdefgh"]
)
ENTRIES = st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), max_size=12, unique=True)
TEXTS = st.lists(st.lists(WORDS | st.sampled_from(list(" ,.\n!")), max_size=12).map("".join), max_size=8)
SPACED = st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=8)


def loop(entries: list[str], texts: list[str]) -> list[tuple[int, int]]:
    return [(r, e) for r, t in enumerate(texts) for e, entry in enumerate(entries) if f" {entry} " in normalised(t)]


@settings(max_examples=300, deadline=None)
@given(ENTRIES, TEXTS | SPACED)
def test_matches_are_those_of_a_loop_over_texts_and_entries(entries: list[str], texts: list[str]) -> None:
    rows, found = Matcher(tuple(entries)).match(texts)
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == loop(entries, texts)


def test_long_entries_and_many_of_them_are_all_found() -> None:
    rng = np.random.default_rng(0)
    entries = list(
        dict.fromkeys(" ".join(f"w{x}" for x in rng.integers(0, 60, rng.integers(1, 10))) for _ in range(3000))
    )
    texts = [" ".join(f"w{x}" for x in rng.integers(0, 60, 40)) for _ in range(30)] + entries[:200]
    rows, found = Matcher(tuple(entries)).match(texts)
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == loop(entries, texts)


def test_texts_are_matched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "a dog", "x" * 50, "dog cat dog", "", "cat", "a dog" * 9, ""]
    whole = Matcher(("dog", "cat")).match(texts)
    for part in (1, 6, 20, 10_000):
        monkeypatch.setattr(substrings, "PART", part)
        again = Matcher(("dog", "cat")).match(texts)
        assert [column.tolist() for column in again] == [column.tolist() for column in whole]


def test_a_hash_that_fits_another_word_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = Matcher(("cat", "twenty-two letters here"))
    matcher.match(["cat"])  # the index is made

    def alike(data: np.ndarray, spaces: np.ndarray, longest: int) -> np.ndarray:
        return np.full(len(spaces) - 1, cat, dtype=np.uint64)

    cat = int(substrings._word_hashes(*substrings._spaced(["cat"]), 3)[0])
    monkeypatch.setattr(substrings, "_word_hashes", alike)
    assert matcher.match(["dog", "cat", "ca", "cats"])[0].tolist() == [1]
    assert matcher.match(["dog cats cat ca"])[0].tolist() == [0]


def test_it_travels_and_threads_share_it() -> None:
    matcher = Matcher(("cat", "hot dog"))
    texts = ["a hot dog", "cat", "dog"] * 500
    own = matcher.match(texts)
    assert pickle.loads(pickle.dumps(matcher)).match(["cat"])[1].tolist() == [0]
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(matcher.match, [texts] * 8):
            assert all((a == b).all() for a, b in zip(own, other, strict=True))


def test_no_entries_or_texts_match_nothing() -> None:
    for entries, texts in (((), ["a"]), (("a",), []), (("", "\0"), ["", "\0"])):
        rows, found = Matcher(entries).match(texts)
        assert (rows.dtype, len(rows), len(found)) == (np.int64, 0, 0)
