from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.data.words import corrupted as c

VOCABULARY = ("x", "y", "z")
WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=8)


@given(WORDS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_kind_does_what_it_says(words: list[str], seed: int) -> None:
    rng, before = np.random.default_rng(seed), list(words)
    assert Counter(c.shuffled(words, VOCABULARY, rng)) == Counter(words)
    assert 1 <= len(words) - len(c.removed(words, VOCABULARY, rng)) <= 3
    more = c.inserted(words, VOCABULARY, rng)
    assert [w for w in more if w not in VOCABULARY] == words
    assert 1 <= len(more) - len(words) <= 3
    other = c.replaced(words, VOCABULARY, rng)
    assert 1 <= sum(a != b for a, b in zip(words, other, strict=True)) <= 3
    again = c.repeated(words, VOCABULARY, rng)
    assert 1 <= len(again) - len(words) <= 9
    assert set(again) == set(words)
    made = c.corrupted(words, VOCABULARY, rng)
    assert made
    assert made != words == before


def test_all_kinds_are_drawn_and_the_seed_decides() -> None:
    words = ["a", "red", "circle", "and", "a", "blue", "star"]
    drawn = [c.corrupted(words, VOCABULARY, np.random.default_rng(i)) for i in range(100)]
    assert drawn == [c.corrupted(words, VOCABULARY, np.random.default_rng(i)) for i in range(100)]
    lengths = {len(d) for d in drawn}
    assert min(lengths) < len(words) < max(lengths)
    assert any(sorted(d) == sorted(words) for d in drawn)
