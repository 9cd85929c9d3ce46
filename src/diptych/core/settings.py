"""Settings of a system by name: typed by the annotations of its dataclass, and ranged by its own checks."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diptych.core import UsageError

T = TypeVar("T")
PUBLISHED = "published"
"""The name in settings that stands for all that the authors published."""
ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n     +.*)*)", flags=re.MULTILINE)
"""Arguments in a docstring: their names, and what is said of it on this line and on those that are indented further."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a system, as its class declares it.

    Args:
        name: of the field.
        type: its annotation.
        default: its default as it is written; "" where there is none.
        meaning: what the docstring says.
    """

    name: str
    type: str
    default: str
    meaning: str


def settings_of(source: str, name: str) -> list[Setting]:
    r"""Return the settings of a system, read from the source of its module: nothing is imported.

    Args:
        source: text of the module.
        name: of the class.

    Example:
        >>> text = "class Memory:\n    'A memory.'\n    share: float = 0.1"
        >>> settings_of(text, "Memory")
        [Setting(name='share', type='float', default='0.1', meaning='')]
    """
    node = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == name)
    text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    _, _, after = text.partition("\nArgs:\n")
    entries = ENTRY.finditer(after.split("\n\n")[0])
    meanings = {name: " ".join(m[2].split()) for m in entries for name in m[1].split(", ")}
    fields = [f for f in node.body if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)]
    rows = [(ast.unparse(f.target), ast.unparse(f.annotation), ast.unparse(f.value) if f.value else "") for f in fields]
    return [Setting(n, kind, value, meanings.get(n, "")) for n, kind, value in rows if "ClassVar" not in kind]


def with_settings(system: T, settings: Mapping[str, Any]) -> T:
    """Return a system with other settings.

    Args:
        system: a frozen dataclass.
        settings: name -> value, or the text of one; "layout.queries" is the field of a field, and "published" with true
            stands for the authors' settings, over which the others are laid.

    Raises:
        UsageError: there is no such setting (the nearest is named), a value of another type, or, by the system's own
            checks, one outside its range; or its card holds no published settings.

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
    if PUBLISHED in settings:
        given = dict(settings)
        if typed(given.pop(PUBLISHED), bool, PUBLISHED):
            system = with_settings(system, _published(system))
        return with_settings(system, given)
    if not settings:
        return system
    hints = get_type_hints(type(system))
    names = [f.name for f in dataclasses.fields(system) if f.init]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for full, value in settings.items():
        name, _, inner = full.partition(".")
        if name == "c" and "c" not in names and "C" in names:  # the name of the last version
            name = "C"
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            guess = f", did you mean {near[0]!r}? It" if near else ": it"
            raise UsageError(
                f"{type(system).__name__} has no setting {name!r}{guess} has {', '.join(names) or 'none'}."
            )
        if inner:
            part = changes.get(name, getattr(system, name))
            if not dataclasses.is_dataclass(part) or isinstance(part, type):
                raise UsageError(f"{name} has no parts: give {name}=VALUE, not {full}.")
            changes[name] = with_settings(part, {inner: value})
        else:
            changes[name] = typed(value, hints[name], full)
    return dataclasses.replace(system, **changes)  # type: ignore[type-var]


def _published(system: Any) -> Mapping[str, Any]:
    """Return the authors' settings of a system, by its card."""
    card = getattr(system, "card", None)
    if card is None or card.published is None or not card.published.settings:
        name = type(system).__name__ if card is None else card.slug
        raise UsageError(f"The card of {name} has no published settings: name settings one by one.")
    settings: Mapping[str, Any] = card.published.settings
    return settings


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
        for part in parts:
            # True equals 1, and 1.0 too: a bool stands for a bool alone
            if str(part) == value or (part == value and isinstance(part, bool) == isinstance(value, bool)):
                return part
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
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        parts = ", ".join(f"{name}.{f.name}" for f in dataclasses.fields(kind))
        return UsageError(f"The setting {name} has parts, and {value!r} is none of them: set {parts}.")
    kind_name = getattr(kind, "__name__", "") if isinstance(kind, type) else str(kind)
    several = isinstance(value, str) and re.search(r",\s*[\w.]+=", value)
    remedy = " Write each setting by itself: {settings} a=1, {settings} b=2." if several else ""
    return UsageError(f"The setting {name} is of the type {kind_name or kind}, not {value!r}.{remedy}")


def as_text(value: Any) -> str:
    """Return the text of a value of a setting, which ``typed`` reads.

    Example:
        >>> as_text(None), as_text((5.0, 2.0)), as_text(True), as_text("small")
        ('none', '5.0,2.0', 'True', 'small')
    """
    if value is None:
        return "none"
    return ",".join(map(as_text, value)) if isinstance(value, (list, tuple)) else str(value)


def varied(variant: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a row of a card with other settings, which ``parted`` reads: "small[epochs=100;rate=0.1]".

    Example:
        >>> varied("small", {"epochs": 100, "rate": 0.1}), varied("", {})
        ('small[epochs=100;rate=0.1]', '')
    """
    pairs = ";".join(f"{name}={as_text(value)}" for name, value in settings.items())
    return f"{variant}[{pairs}]" if pairs else variant


def parted(variant: str) -> tuple[str, dict[str, str]]:
    """Return the row of a card, and the settings that differ from it.

    Raises:
        UsageError: what stands in brackets is no NAME=VALUE.
    """
    row, bracket, rest = variant.partition("[")
    pairs = [pair.partition("=") for pair in rest.removesuffix("]").split(";")] if bracket else []
    if bracket and (not rest.endswith("]") or not all(name and equals for name, equals, _ in pairs)):
        raise UsageError(f"Settings of a row are NAME[epochs=100;rate=0.1], not {variant!r}.")
    return row, {name.strip(): value.strip() for name, _, value in pairs}


def by_system(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return slug -> setting -> text, of lines such as "SLUG.epochs=100".

    Raises:
        UsageError: a line of another form.
    """
    given: dict[str, dict[str, str]] = {}
    for line in lines:
        place, equals, value = line.partition("=")
        slug, dot, name = place.strip().partition(".")
        if not (slug and dot and name and equals):
            raise UsageError(f"{{settings}} takes SYSTEM.NAME=VALUE here, such as SLUG.epochs=100, not {line!r}.")
        given.setdefault(slug, {})[name] = value.strip()
    return given
