from __future__ import annotations

import pytest

from diptych.core.wording import number_of


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 pictures have"), (1, "1 picture has"), (2000, "2,000 pictures have")]
)
def test_one_is_singular(count: int, said: str) -> None:
    assert number_of(count, "picture has", "pictures have") == said
