"""Intervals hold the truth as often as they say. All sizes: ``make intervals``."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.nulls.cells import RUNS, Cell
from tests.support.nulls.simulations import cells
from tools.intervals import PAGE, table, verdict

RIGHT = (
    ("mean of items", "hits, 0.7", 1, 50),
    ("paired gain", "hits, seeds differ by 0 points", 1, 50),
    ("one-sided bound of a gain", "hits, seeds differ by 0 points", 1, 50),
    ("paired p-value, 5 %", "hits, seeds differ by 0 points", 1, 50),
    ("mean of items", "hits, 0.9", 1, 20),
    ("mean of items", "hits, 0.7, seeds differ by 15 points", 5, 200),
    ("paired gain", "hits, seeds differ by 10 points", 3, 200),
    ("paired p-value, 5 %", "hits, seeds differ by 10 points", 5, 200),
    ("AUROC", "0.7", 1, 20),
    ("mIoU", "5 classes", 1, 10),
    ("board: mean_per_class_recall", "5 classes", 1, 20),
    ("board: nll", "5 classes", 1, 20),
    ("micro F1", "5 classes", 1, 20),
    ("worst factor", "ten factors that are alike", 1, 50),
    ("one-sided bound of a gain in AUROC", "0.8", 1, 20),
    ("Wilson", "p even in 0.02 to 0.98", 1, 20),
    ("Newcombe", "p and q even in 0.05 to 0.95", 1, 20),
    ("Student over classes", "normal, two-sided", 1, 2),
    ("Student over classes", "drops, two-sided", 1, 3),
    ("Student over classes", "drops, one-sided", 1, 5),
    ("recall of captions", "5 captions per picture, 0.7", 1, 200),
    ("effective robustness of a source", "two sources on one line", 1, 15),
)
WIDE = (
    ("paired gain", "hits, seeds differ by 0 points", 3, 20),
    ("one-sided bound of a gain", "hits, seeds differ by 2 points", 3, 200),
    ("AUROC", "0.95", 1, 20),
    ("Student over classes", "drops, one-sided", 1, 2),
)
ONE_RUN = 100 / RUNS + 0.05
"""Rounding may put one run, and a share is written with one digit."""


def cell(row: tuple[str, str, int, int]) -> Cell:
    (chosen,) = [c for c in cells() if (c.name, c.law, c.seeds, c.items) == row]
    return chosen


@pytest.mark.parametrize("row", RIGHT, ids=str)
def test_it_holds_the_truth_in_93_to_97_percent(row: tuple[str, str, int, int]) -> None:
    share = cell(row).share()
    assert 0.93 <= share <= 0.97
    assert table()[row] == pytest.approx(100 * share, abs=ONE_RUN)


@pytest.mark.parametrize("row", WIDE, ids=str)
def test_over_seeds_and_of_two_classes_it_may_only_be_too_wide(row: tuple[str, str, int, int]) -> None:
    share = cell(row).share()
    assert share >= 0.93
    assert table()[row] == pytest.approx(100 * share, abs=ONE_RUN)


def test_the_page_has_every_row_and_says_where_it_does_not_hold() -> None:
    measured = table()
    assert list(measured) == [(c.name, c.law, c.seeds, c.items) for c in cells()]
    text = PAGE.read_text(encoding="utf-8")
    for (name, law, seeds, items), share in measured.items():
        assert f"| {name} | {law} | {seeds} | {items} | {share:.1f} % | {verdict(share)} |" in text
    counts = Counter(map(verdict, measured.values()))
    assert (
        f"Of {len(measured)} rows {counts['holds']} hold, {counts['too wide']} are too wide and "
        f"{counts['too narrow']} too narrow" in text
    )
    assert [verdict(s) for s in (92.9, 93.0, 97.0, 97.1)] == ["too narrow", "holds", "holds", "too wide"]
