"""What is saved names classes by short names, which outlive a move of their modules."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.features.saved_classes import class_named, is_frozen, short_name

SYSTEMS = [(card["slug"], card["module"]) for card in catalog.cards()]


def own_dataclasses(module: str) -> list[Any]:
    kinds = [kind for _, kind in inspect.getmembers(importlib.import_module(module), inspect.isclass)]
    return [k for k in kinds if k.__module__ == module and is_frozen(k)]


def classes_in(hint: Any) -> set[type]:
    """The classes in a type hint, in what it takes as arguments too."""
    inside = {kind for part in typing.get_args(hint) for kind in classes_in(part)}
    return inside | ({hint} if inspect.isclass(hint) else set())


@pytest.mark.parametrize(("slug", "module"), SYSTEMS)
def test_every_dataclass_of_a_system_has_a_short_name_that_finds_it(slug: str, module: str) -> None:
    kinds = own_dataclasses(module)
    assert kinds
    for kind in kinds:
        assert short_name(kind) == f"{slug}:{kind.__qualname__}"
        assert class_named(short_name(kind), Path()) is kind


@pytest.mark.parametrize("module", [module for _, module in SYSTEMS])
def test_what_a_fitted_object_holds_has_a_short_name(module: str) -> None:
    todo, seen = [k for k in own_dataclasses(module) if k.__name__.startswith("Fitted")], set[Any]()
    while todo:
        kind = todo.pop()
        if kind not in seen and is_frozen(kind):
            seen.add(kind)
            assert class_named(short_name(kind), Path()) is kind
            hints = typing.get_type_hints(kind)
            todo += [k for f in dataclasses.fields(kind) if f.init for k in classes_in(hints[f.name])]
