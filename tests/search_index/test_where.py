"""What a condition means on an index is in ``test_index.py`` and ``test_database_index.py``."""

from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.search_index.where import Condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("label=cat", Condition("label", "=", "cat")),
        ("label == cat", Condition("label", "=", "cat")),
        ("year>=1990", Condition("year", ">=", "1990")),
        ("label!=dog", Condition("label", "!=", "dog")),
        ("formula=a=b", Condition("formula", "=", "a=b")),
        ("name ~ *holiday*", Condition("name", "~", "*holiday*")),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    assert Condition.parse(text) == condition


@pytest.mark.parametrize("text", ["year>>5", "year===5", "year=>5", "year<>5", "year=", "=5", "cat", "a=\0"])
def test_what_is_none_is_refused_and_shown(text: str) -> None:
    with pytest.raises(UsageError, match=r"takes conditions such as label=cat, .*, not "):
        Condition.parse(text)
