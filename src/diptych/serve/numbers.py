"""Numbers in the body of a request: JSON's true and false are none, which pydantic reads as 1 and 0."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

NO_NUMBER = "no_number"
"""What pydantic's errors call it."""


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(NO_NUMBER, "Input should be a number, not true or false")
    return value


Integer = Annotated[int, BeforeValidator(_no_boolean)]
"""A whole number in a body."""
Number = Annotated[float, BeforeValidator(_no_boolean)]
"""A number in a body."""


def with_numbers(kind: Any) -> Any:
    """Return the type of a field whose numbers, at any depth, are no true or false.

    Example:
        >>> with_numbers(int | None) == Integer | None, with_numbers(list[float]) == list[Number]
        (True, True)
    """
    if kind in (int, float):
        return Integer if kind is int else Number
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return Union[tuple(map(with_numbers, parts))]
    if origin in (list, tuple, dict):
        generic: Callable[..., Any] = origin.__class_getitem__
        return generic(tuple(map(with_numbers, parts)))
    return kind
