"""What the texts of flags become."""

from __future__ import annotations

from diptych.cli.flag_values import integers, words


def test_words_and_numbers_stand_between_commas() -> None:
    assert words(" a, b c ,, d") == ("a", "b c", "d")
    assert integers("1,4, 16", "shots") == (1, 4, 16)
