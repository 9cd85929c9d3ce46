from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from diptych.core import DataError
from diptych.core.plain import build
from diptych.core.ranges import at_least


@dataclass(frozen=True)
class Inner:
    value: float
    where: str = ""


@dataclass(frozen=True)
class Outer:
    name: str
    year: Annotated[int, at_least(1950)]
    kind: Literal["round", "square"] = "round"
    flag: bool = False
    words: tuple[str, ...] = ()
    rows: tuple[Inner, ...] = ()
    other: Inner | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


LEAST = {"name": "a", "year": 1950}


def test_plain_data_become_the_dataclass() -> None:
    data = {
        **LEAST,
        "kind": "square",
        "flag": True,
        "words": ["x", "y"],
        "rows": [{"value": 1}, {"value": 2.5, "where": "log"}],
        "other": {"value": 3.0},
        "tables": {"": {}, "long": {"steps": 10, "names": ["one  two"]}},
    }
    assert build(Outer, data, "f") == Outer(
        "a", 1950, "square", True, ("x", "y"), (Inner(1), Inner(2.5, "log")), Inner(3.0),
        {"": {}, "long": {"steps": 10, "names": ["one  two"]}},
    )  # fmt: skip
    assert build(Outer, LEAST, "f") == Outer("a", 1950)


def test_the_lines_of_a_text_are_one_paragraph() -> None:
    lines = "\n  One sentence,\n  and its end.\n"
    assert build(Outer, {**LEAST, "name": lines, "words": [lines]}, "f") == Outer(
        "One sentence, and its end.", 1950, words=("One sentence, and its end.",)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": 1}, "f: there is no field nam; the nearest is name."),
        ({"rows": [{"value": 1, "were": ""}]}, "f: there is no field rows[0].were; the nearest is rows[0].where."),
        ({"rows": [{}]}, "f: rows[0].value is missing: add it."),
        ({"name": 1}, "f: name must be a text, got 1."),
        ({"year": "x"}, "f: year must be a whole number, got 'x'."),
        ({"year": 2000.0}, "f: year must be a whole number, got 2000.0."),
        ({"year": True}, "f: year must be a whole number, got True."),
        ({"year": 1949}, "f: year must be at least 1950, got 1949."),
        ({"kind": "oval"}, "f: kind must be one of 'round', 'square', got 'oval'."),
        ({"flag": 1}, "f: flag must be true or false, got 1."),
        ({"words": "x"}, "f: words must be a list, got 'x'."),
        ({"words": ["x", 2]}, "f: words[1] must be a text, got 2."),
        ({"rows": [{"value": "x"}]}, "f: rows[0].value must be a number, got 'x'."),
        ({"rows": [1]}, "f: rows[0] must be a table, got 1."),
        ({"other": {"value": None}}, "f: other.value must be a number, got None."),
        ({"tables": []}, "f: tables must be a table, got []."),
        ({"tables": {"": 3}}, "f: tables.'' must be a table, got 3."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        build(Outer, {**LEAST, **change}, "f")
    assert str(caught.value) == message


def test_a_missing_field_is_named() -> None:
    with pytest.raises(DataError, match=r"^f: year is missing: add it\.$"):
        build(Outer, {"name": "a"}, "f")
