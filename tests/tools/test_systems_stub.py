from __future__ import annotations

import ast
from typing import Literal

from diptych import catalog
from tools.systems_stub import STUB, _written, stub


def test_the_stub_is_what_the_catalog_says() -> None:
    assert stub() == STUB.read_text(encoding="utf-8")


def test_it_holds_every_system() -> None:
    classes = {node.name for node in ast.parse(STUB.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)}
    assert classes == {card["class"] for card in catalog.cards()}


def test_hints_are_written_as_in_source() -> None:
    assert _written(float | None) == "float | None"
    assert _written(Literal["b", "a"]) == "Literal['a', 'b']"
    assert _written(tuple[int, ...]) == "tuple[int, ...]"
    assert _written(str) == "str"
