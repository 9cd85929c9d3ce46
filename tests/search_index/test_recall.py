from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from diptych.search_index.recall import TOP, Approximate, Queries, measured

EXACT = np.arange(20 * (TOP + 1)).reshape(20, TOP + 1)


def first_ones(of: Callable[[int], int]) -> Callable[[np.ndarray, int], np.ndarray]:
    """A search that finds the first ``of(effort)`` of the nearest of each query, whose value is its number."""

    def search(values: np.ndarray, effort: int) -> np.ndarray:
        rows = EXACT[values[:, 0].astype(int)]
        return np.where(np.arange(TOP + 1) < of(effort), rows, -1)

    return search


def sampled(stored: np.ndarray | None = None) -> Queries:
    return Queries.of(np.arange(20.0, dtype=np.float32)[:, None], EXACT, stored)


def test_a_stored_query_is_no_neighbour_of_itself() -> None:
    stored, words = sampled(stored=EXACT[:, 0]), sampled()
    assert stored.nearest.tolist() == EXACT[:, 1:].tolist()
    assert words.nearest.tolist() == EXACT[:, :-1].tolist()
    assert stored.shares(first_ones(lambda effort: 1), 1).tolist() == [0.0] * 20
    assert words.shares(first_ones(lambda effort: 1), 1).tolist() == pytest.approx([0.1] * 20)


def test_the_first_effort_that_finds_enough_is_taken_and_measured_on_the_other_half() -> None:
    got = measured(220, "IVF8", {"rows": sampled()}, first_ones(lambda effort: 2 * effort), range(1, 9))
    assert (got.nprobe, got.recall, got.queries, got.held_out) == (5, {"rows": 1.0}, {"rows": 10}, {"rows": 1.0})
    assert got.stated == got.held_out
    assert got.unit == "cells"


def test_the_last_effort_is_taken_where_none_finds_enough() -> None:
    got = measured(220, "HNSW", {"rows": sampled()}, first_ones(lambda effort: 3), (1, 2, 4))
    assert (got.nprobe, got.unit) == (4, "candidates")
    assert got.stated["rows"] == pytest.approx(0.3)


def test_recall_counts_less_its_standard_error() -> None:
    def half(values: np.ndarray, effort: int) -> np.ndarray:
        rows = first_ones(lambda effort: TOP + 1)(values, effort)
        if effort == 1:
            rows[0, :5] = -1  # one of ten queries loses five of its nearest: 0.95 on average
        return rows

    assert measured(220, "IVF8", {"rows": sampled()}, half, (1, 2)).nprobe == 2


def test_earlier_descriptions_state_what_chose_the_effort() -> None:
    assert Approximate(1, "IVF8", 2, {"rows": 0.96}, {"rows": 100}).stated == {"rows": 0.96}
