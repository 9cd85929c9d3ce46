"""The stream of numbers behind trainings that draw their rows in the workers."""

from __future__ import annotations

from itertools import islice

from recipes.number_stream import Numbers


def test_a_stream_goes_on_where_it_is_told() -> None:
    assert list(islice(Numbers(), 3)) == [(0, 0), (1, 1), (2, 2)]
    assert list(islice(Numbers().seek(5), 2)) == [(5, 5), (6, 6)]
