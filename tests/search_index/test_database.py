from __future__ import annotations

from diptych.search_index.database import number_of


def test_numbers_follow_from_names_and_differ() -> None:
    numbers = {number_of(f"photos/{i}.jpg") for i in range(10_000)}
    assert len(numbers) == 10_000
    assert all(0 <= n < 2**59 for n in numbers)
    assert number_of("caf\udce9.jpg") != number_of("café.jpg")
