"""The sentence of an interrupted index; what is stored then is tested in test_index."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from diptych.tasks.search.interruption import Interruptible, unfinished


@pytest.mark.parametrize(
    ("count", "total", "said"), [(0, 1, "0 of 1 record is in pets"), (1024, 5000, "1,024 of 5,000 records are in pets")]
)
def test_ctrl_c_says_how_many_are_stored(count: int, total: int, said: str) -> None:
    expected = pytest.raises(KeyboardInterrupt, match=f"Interrupted: {said}; the same command goes on")
    with expected, Interruptible(Path("pets"), total) as progress:
        progress.advance(count)
        raise KeyboardInterrupt


def test_ctrl_c_counts_vectors_of_records_that_are_not_in_the_index() -> None:
    tally = Counter(encoded=16)
    said = "1,024 of 5,000 records are in pets, and 7 vectors of the next in the cache; the same command"
    with Interruptible(Path("pets"), 5000, tally) as progress:
        tally["encoded"] += 1024
        progress.advance(1024)
        tally.update(encoded=4, cached=3)
    with pytest.raises(KeyboardInterrupt, match=said):
        progress.__exit__(KeyboardInterrupt)


def test_other_errors_and_none_pass() -> None:
    with pytest.raises(ValueError, match="its own"), Interruptible(Path("pets"), 2):
        raise ValueError("its own")
    with Interruptible(Path("pets"), 2) as progress:
        progress.advance(2)
    assert progress.count == 2


def test_a_folder_says_that_it_is_not_whole_until_the_records_are_in(tmp_path: Path) -> None:
    assert unfinished(tmp_path) == unfinished("lance:pets") == ""
    expected = pytest.raises(KeyboardInterrupt, match="the same command goes on")
    with expected, Interruptible(tmp_path, 9):
        raise KeyboardInterrupt
    assert f"{tmp_path} is not whole: indexing was interrupted" in unfinished(tmp_path)
    with Interruptible(tmp_path, 9):
        pass
    assert unfinished(tmp_path) == ""
