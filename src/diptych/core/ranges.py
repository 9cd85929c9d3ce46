"""Ranges of settings, and the error for a value outside its range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

from diptych.core.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Range:
    """Values that a setting may have.

    Args:
        words: what follows "must be", such as "at least 1".
        holds: whether a value is in the range.
    """

    words: str
    holds: Callable[[Any], bool]

    def __contains__(self, value: object) -> bool:
        """Return whether a value is in the range, which nothing of another type is."""
        try:
            return self.holds(value)
        except TypeError:  # a list, or a text, where the range is of numbers
            return False


def at_least(low: float) -> Range:
    """Return [low, infinity]."""
    return Range(f"at least {low:g}", lambda value: bool(value >= low))


def above(low: float) -> Range:
    """Return (low, infinity]."""
    return Range(f"above {low:g}", lambda value: bool(value > low))


def between(low: float, high: float, ends: str = "[]") -> Range:
    """Return the range between two numbers.

    Args:
        low: lower end.
        high: upper end.
        ends: "[" or "(", whether the lower end is included, then "]" or ")" for the upper one.
    """

    def holds(value: float) -> bool:
        return low <= value <= high and (value != low or ends[0] == "[") and (value != high or ends[1] == "]")

    return Range(f"in {ends[0]}{low:g}, {high:g}{ends[1]}", holds)


def one_of(*words: str) -> Range:
    """Return the range that has the given words only."""
    return Range(f"one of {', '.join(map(repr, words))}", lambda value: value in words)


def check(settings: DataclassInstance, allowed: Range, *names: str) -> None:
    """Raise where a setting is outside a range.

    None is in every range. A tuple is in it if it is not empty and each entry is in it.

    Raises:
        UsageError: a field is outside; see ``wrong``.

    Example:
        >>> @dataclass(frozen=True)
        ... class Filter:
        ...     share: float = 0.3
        ...
        ...     def __post_init__(self) -> None:
        ...         check(self, between(0, 1, "(]"), "share")
        >>> Filter(1.5)
        Traceback (most recent call last):
        diptych.core.errors.UsageError: share must be in (0, 1], got 1.5: give another, or leave it out for 0.3.
    """
    for name in names:
        value = getattr(settings, name)
        entries = value if isinstance(value, tuple) else (value,)
        if value is not None and not (entries and all(entry in allowed for entry in entries)):
            raise wrong(settings, name, allowed.words)


def wrong(settings: DataclassInstance, name: str, words: str) -> UsageError:
    """Return the error for a field, with its range, its value and the remedy.

    Args:
        settings: a dataclass.
        name: name of the field.
        words: what follows "must be".
    """
    default = settings.__dataclass_fields__[name].default
    instead = "" if default is None else f" for {default!r}"
    left_out = "" if default is MISSING else f", or leave it out{instead}"
    return UsageError(f"{name} must be {words}, got {getattr(settings, name)!r}: give another{left_out}.")
