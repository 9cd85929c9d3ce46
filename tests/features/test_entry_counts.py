from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.features.entry_counts import EntryCounts, read_entry_counts, tail_share, threshold_for


def counted(*counts: int, entries: tuple[str, ...] = ("cat", "dog"), texts: int = 4, matched: int = 3) -> EntryCounts:
    return EntryCounts(entries, np.array(counts, dtype=np.uint64), texts, matched)


def test_counts_add_and_are_reported() -> None:
    whole = counted(2, 0).merge(counted(1, 1, texts=6))
    assert (whole.counts.tolist(), whole.texts, whole.matched) == ([3, 1], 10, 6)
    assert whole.report() == {
        "texts": 10, "matched": 6, "entries": 2, "entries_met": 2, "entries_a_text": 0.67,
        "t_for_a_tail_of_6_%": 1, "commonest": "cat 3, dog 1",
    }  # fmt: skip
    assert "t_for_a_tail_of_6_%" not in counted(0, 0).report()
    with pytest.raises(UsageError, match="different metadata, of 2 and 1 entries"):
        whole.merge(counted(1, entries=("cat",)))


def test_thresholds_are_those_of_a_loop_over_languages() -> None:
    """The longer tail of the second language has another t of the same share of its matches."""
    rng = np.random.default_rng(0)
    for power in (1.2, 2.5):
        counts = (1 + 1000 * rng.random(300) ** power).astype(np.uint64)
        shares = {int(t): counts[counts <= t].sum() / counts.sum() for t in np.unique(counts)}
        t = threshold_for(counts, 0.06)
        assert t == min(shares, key=lambda t: abs(shares[t] - 0.06))
        assert tail_share(counts, t) == pytest.approx(counts[counts < t].sum() / counts.sum())
    assert tail_share(np.zeros(3, dtype=np.uint64), 5.0) == 0
    with pytest.raises(UsageError, match="No text contains an entry"):
        threshold_for(np.zeros(3, dtype=np.uint64), 0.06)


def test_a_file_gives_back_what_was_written_and_names_the_system_that_cannot_read_it(tmp_path: Path) -> None:
    counted(2, 0).write(tmp_path / "plan")
    again = read_entry_counts(tmp_path / "plan", "metaclip")
    assert (again.entries, again.counts.tolist(), again.texts, again.matched) == (("cat", "dog"), [2, 0], 4, 3)
    with pytest.raises(DataError, match="no plan of another"):
        read_entry_counts(tmp_path / "absent", "another")
