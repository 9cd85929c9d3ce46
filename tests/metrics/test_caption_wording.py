from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError
from diptych.metrics.caption_wording import distinct, repetition

SAID = ["A dog, a dog and a dog.", "a red car", "", "the the the"]


def test_against_ngrams_of_nltk() -> None:
    from nltk.util import ngrams

    split = [["a", "dog", "a", "dog", "and", "a", "dog"], ["a", "red", "car"], [], ["the"] * 3]
    for n in (1, 2, 4):
        grams = [list(ngrams(words, n)) for words in split]
        every = [g for own in grams for g in own]
        assert distinct(SAID, n) == pytest.approx(len(set(every)) / len(every))
        expected = [1 - len(set(own)) / len(own) if own else 0.0 for own in grams]
        assert repetition(SAID, n) == pytest.approx(np.array(expected))


def test_limits_and_bad_input() -> None:
    assert distinct(["a b", "c d"], 2) == 1.0
    assert distinct(["a"], 2) == 0.0
    for measure in (distinct, repetition):
        with pytest.raises(DataError, match="got 0"):
            measure([])
        with pytest.raises(DataError, match="n = 0"):
            measure(["a"], 0)
