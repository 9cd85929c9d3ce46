"""Plain data, as TOML and JSON hold them, become frozen dataclasses: typed, in range, each error with its place."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diptych.core.errors import DataError
from diptych.core.ranges import Range

T = TypeVar("T")
_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def build(kind: type[T], data: Mapping[str, Any], file: str) -> T:
    """Return a dataclass of plain data.

    Its fields may be text, numbers, true or false, words of a ``Literal``, tuples and mappings of these, further
    dataclasses, and any of them or None; ``Annotated`` may hold a ``Range``. A text becomes one paragraph: its line
    breaks and indentation are single spaces.

    Args:
        kind: the dataclass.
        data: its fields by name; a field with a default may be absent.
        file: name of what is read, for errors.

    Raises:
        DataError: a field is unknown (the nearest is named), missing, of another type, or out of its range.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     height: int
        ...     width: int = 1
        >>> build(Size, {"height": 3}, "size.toml").width
        1
        >>> build(Size, {"height": 3, "wide": 2}, "size.toml")
        Traceback (most recent call last):
        ...
        diptych.core.errors.DataError: size.toml: there is no field wide; the nearest is width.
    """
    built: T = _dataclass(kind, data, file, "")
    return built


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _dataclass(kind: Any, data: Mapping[str, Any], file: str, place: str) -> Any:
    hints, dot = _hints(kind), f"{place}." if place else ""
    for name in data:
        if name not in hints:
            (near,) = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)
            raise DataError(f"{file}: there is no field {dot}{name}; the nearest is {dot}{near}.")
    for field in fields(kind):
        if field.name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise DataError(f"{file}: {dot}{field.name} is missing: add it.")
    return kind(**{name: _value(hints[name], value, file, f"{dot}{name}") for name, value in data.items()})


def _value(hint: Any, value: Any, file: str, place: str) -> Any:
    """Return a value as its type hint wants it."""

    def need(words: str, holds: bool) -> None:
        if not holds:
            raise DataError(f"{file}: {place} must be {words}, got {value!r}.")

    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        result = _value(arguments[0], value, file, place)
        for limit in arguments[1:]:
            if isinstance(limit, Range):
                need(limit.words, limit.holds(result))
        return result
    if origin in (Union, types.UnionType):
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _value(hint, value, file, place)
    if origin is Literal:
        need(f"one of {', '.join(map(repr, arguments))}", value in arguments)
        return value
    if origin is tuple:
        need("a list", isinstance(value, list | tuple))
        return tuple(_value(arguments[0], item, file, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        need("a table", isinstance(value, Mapping))
        return {name: _value(arguments[1], item, file, f"{place}.{name or repr(name)}") for name, item in value.items()}
    if is_dataclass(hint):
        need("a table", isinstance(value, Mapping))
        return _dataclass(hint, value, file, place)
    if hint is Any:
        return value
    wanted = (int, float) if hint is float else hint
    need(_WORDS[hint], isinstance(value, wanted) and (hint is bool or not isinstance(value, bool)))
    return " ".join(value.split()) if hint is str else value
