"""Settings of a system by name: typed by the annotations of its dataclass, and ranged by its own checks."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diptych.core import UsageError

T = TypeVar("T")


def with_settings(system: T, settings: Mapping[str, Any]) -> T:
    """Return a system with other settings.

    Args:
        system: a frozen dataclass.
        settings: name -> value, or the text of one; "layout.queries" is the field of a field.

    Raises:
        UsageError: there is no such setting (the nearest is named), a value of another type, or, by the system's own
            checks, one outside its range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Memory:
        ...     neighbours: int = 1
        ...     share: float | None = None
        >>> with_settings(Memory(), {"neighbours": "3", "share": "none"})
        Memory(neighbours=3, share=None)
        >>> with_settings(Memory(), {"neighbour": 3})
        Traceback (most recent call last):
        diptych.core.errors.UsageError: Memory has no setting 'neighbour', did you mean 'neighbours'? ...
    """
    if not settings:
        return system
    hints = get_type_hints(type(system))
    names = [f.name for f in dataclasses.fields(system) if f.init]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for full, value in settings.items():
        name, _, inner = full.partition(".")
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            guess = f", did you mean {near[0]!r}?" if near else ":"
            raise UsageError(
                f"{type(system).__name__} has no setting {name!r}{guess} It has {', '.join(names) or 'none'}."
            )
        if inner:
            part = changes.get(name, getattr(system, name))
            if not dataclasses.is_dataclass(part) or isinstance(part, type):
                raise UsageError(f"{name} has no parts: give {name}=VALUE, not {full}.")
            changes[name] = with_settings(part, {inner: value})
        else:
            changes[name] = typed(value, hints[name], full)
    changed: T = dataclasses.replace(system, **changes)  # type: ignore[type-var]
    return changed


def typed(value: Any, kind: Any, name: str) -> Any:
    """Return a value, or the text of one, as a type asks for it.

    Args:
        value: given; a text is read: "none", "true", "3", "0.5", "1,2,3".
        kind: an annotation: bool, int, float, str, a literal, a tuple, or one of these or None.
        name: of the setting, for errors.

    Raises:
        UsageError: it is of another type.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if types.NoneType in parts and (value is None or value == "none"):
            return None
        for part in (p for p in parts if p is not types.NoneType):
            try:
                return typed(value, part, name)
            except UsageError:
                continue
        raise _wrong(value, kind, name)
    if origin is Literal:
        if (match := next((p for p in parts if p == value or str(p) == value), None)) is not None:
            return match
        raise UsageError(f"{name} is one of {', '.join(map(repr, parts))}, not {value!r}.")
    if origin is tuple:
        entries = [e.strip() for e in value.split(",") if e.strip()] if isinstance(value, str) else value
        if not isinstance(entries, (list, tuple)) or (parts[-1] is not ... and len(entries) != len(parts)):
            raise _wrong(value, kind, name)
        kinds = (parts[0],) * len(entries) if parts[-1] is ... else parts
        return tuple(typed(e, k, name) for e, k in zip(entries, kinds, strict=True))
    if kind is bool:
        if isinstance(value, bool) or str(value).lower() in ("true", "false"):
            return value if isinstance(value, bool) else value.lower() == "true"
        raise _wrong(value, kind, name)
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (TypeError, ValueError):
            raise _wrong(value, kind, name) from None
        if isinstance(value, float) and number != value:
            raise _wrong(value, kind, name)
        return number
    if kind is str and isinstance(value, str):
        return value
    if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise _wrong(value, kind, name)


def _wrong(value: Any, kind: Any, name: str) -> UsageError:
    kind_name = getattr(kind, "__name__", "") if isinstance(kind, type) else str(kind)
    return UsageError(f"The setting {name} is of the type {kind_name or kind}, not {value!r}.")
