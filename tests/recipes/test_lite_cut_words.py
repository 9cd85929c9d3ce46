"""Made-up captions and cells whose shares are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cut import Answers, Searched
from diptych.data.words.wordnet import WordNet
from diptych.metrics.cut import AbsentScores
from diptych.tasks.search.word_kind import Kind
from recipes.lite_cut_words import Cell, judged, share_of, stated, word_groups


def test_words_of_captions_fall_into_groups_with_the_files_that_hold_them() -> None:
    captions = {
        "a": ["A wooden boat", "a spaniel jumping"], "b": ["A wooden boat", "a dog jumping"], "c": ["a wooden boat"],
        "d": ["a wooden boat"],
    }  # fmt: skip
    groups = word_groups(captions, 4, WordNet.load())
    assert groups["common nouns"] == {"boat": set("abcd")}
    assert groups["rare nouns"] == {"spaniel": {"a"}, "dog": {"a", "b"}}, "a spaniel is a dog"
    assert groups["activities"] == {"jumping": {"a", "b"}}
    assert groups["looks"] == {"wooden": set("abcd")}
    assert groups["compounds"] == {"wooden boat": set("abcd")}


def made(kind: Kind, right: float, queries: int = 10) -> Cell:
    """A cell with ten answers of each query above 0.5, of which a share is right, and absent words at 0.1."""
    score = np.hstack([np.full((queries, 10), 0.9), np.full((queries, 10), 0.2)])
    good = np.hstack([np.arange(10) < 10 * right, np.ones(10)]).astype(bool)
    present = Answers(score, score, np.broadcast_to(good, score.shape))
    return Cell("words", kind, Searched(50, present, present, AbsentScores((1,), np.full((100, 1), 0.1)), [], 1))


def test_what_is_stated_is_the_mean_and_the_range_of_cells_of_a_kind() -> None:
    every = {"a": [made("thing", 0.8), made("other", 0.1)], "b": [made("thing", 0.4), made("thing", 1.0, queries=2)]}
    things = stated(every, "thing", 0.5, 0.7, 50)
    assert share_of(every["a"][0], 0.5, 0.7) == (80 / 101, 100, 10)
    assert things["share"] == pytest.approx((80 + 40) / 202, abs=1e-4)
    assert things["interval"] == pytest.approx([40 / 101, 80 / 101], abs=1e-4)
    assert (things["cells"], things["above"], things["queries"]) == (2, 200, 20), "two queries are too few"
    assert stated(every, "other", 0.5, 0.7, 50)["cells"] == 1


def test_a_set_is_judged_by_the_range_of_the_others() -> None:
    every = {"a": [made("thing", 0.8)], "b": [made("thing", 0.4)], "c": [made("thing", 0.6)]}
    rows = {row["set"]: row for row in judged(every, 0.5, 0.7, 50)}
    assert [rows[name]["below"] for name in "abc"] == [False, True, False]
    assert rows["b"]["others"] == pytest.approx([60 / 101, 80 / 101], abs=1e-4)
