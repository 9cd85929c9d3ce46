"""What the texts of flags become."""

from __future__ import annotations

import pytest

from diptych.cli.flag_values import class_names, integers, words
from diptych.core import UsageError


def test_lists_of_names_may_be_long_and_hold_dots() -> None:
    many = [f"kind of tree number {i}" for i in range(40)]
    assert class_names(", ".join(many), ()) == tuple(many)
    assert class_names("St. Bernard, cat", ()) == ("St. Bernard", "cat")
    with pytest.raises(UsageError):
        class_names("no-such-names.txt", ())


def test_words_and_numbers_stand_between_commas() -> None:
    assert words(" a, b c ,, d") == ("a", "b c", "d")
    assert integers("1,4, 16", "shots") == (1, 4, 16)
