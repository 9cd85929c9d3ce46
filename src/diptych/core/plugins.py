"""Systems of other packages: entry points of the group ``diptych.methods``, of which any may be broken.

A broken entry point warns once in a process, with the name of its distribution and the error, and is left out. Whoever
asks for its system by name gets the same sentence as an error.
"""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any, get_args

from diptych.core.card import Card, Verb
from diptych.core.errors import UsageError
from diptych.core.method import Method

GROUP = "diptych.methods"
_LONGEST = 300  # characters of an error that a warning repeats
_warned: set[tuple[str, str]] = set()
_given: dict[str, EntryPoint] = {}


class PluginWarning(UserWarning):
    """A system of another package is left out."""


def points(taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """Return slug -> entry point of the systems of other packages; none of them is imported.

    Args:
        taken: slugs of our own systems. An entry point with such a slug is left out with a warning, and so is the
            second of two with one slug.

    Example:
        >>> isinstance(points(), dict)
        True
    """
    found = {slug: point for slug, point in _given.items() if slug not in taken}
    for point in _declared():
        if point.name in _given:
            continue
        if point.name in taken:
            warn_once(point, "its slug is that of a system of diptych")
        elif point.name in found:
            if found[point.name].value != point.value or _package(found[point.name]) != _package(point):
                warn_once(point, f"its slug is that of a system of {_package(found[point.name])}")
        else:
            found[point.name] = point
    return found


def load(point: EntryPoint) -> type[Method]:
    """Import and return the system of an entry point.

    Raises:
        UsageError: the import fails, or what it names is no system with that slug; the error names the distribution.
    """
    try:
        system = point.load()
    except (Exception, SystemExit) as error:  # whatever the code of a stranger does when it is imported
        raise UsageError(_sentence(point, _words(error))) from error
    if fault := _fault(system, point.name):
        raise UsageError(_sentence(point, fault))
    return system  # type: ignore[no-any-return]


@contextmanager
def installed(system: type[Method]) -> Iterator[None]:
    """Let a system be known by the slug of its card inside, as if its package had an entry point."""
    slug, before = system.card.slug, dict(_given)
    _given[slug] = EntryPoint(slug, f"{system.__module__}:{system.__qualname__}", GROUP)
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


def warn_once(point: EntryPoint, reason: str | BaseException) -> None:
    """Warn that the system of an entry point is left out, once in a process.

    Args:
        point: the entry point.
        reason: a few words, or the error of ``load`` that is a sentence already.
    """
    text = str(reason) if isinstance(reason, UsageError) else _sentence(point, _words(reason))
    key = (point.name, text)
    if key not in _warned:
        _warned.add(key)
        warnings.warn(text, PluginWarning, stacklevel=3)


@cache
def _scan(scan: Callable[..., Iterable[EntryPoint]], path: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of the group; reading them takes 10 ms, and a board would do it for each row."""
    return tuple(scan(group=GROUP))


def _dated(place: str) -> tuple[str, int]:
    """Return a folder of the path with the time when something was installed there; 0 where it is absent."""
    try:
        return place, os.stat(place or ".").st_mtime_ns
    except OSError:
        return place, 0


def _declared() -> Iterator[EntryPoint]:
    """Yield the entry points of the group; a distribution whose list cannot be read is left out with a warning."""
    try:
        yield from _scan(entry_points, tuple(_dated(place) for place in sys.path))
    except Exception:  # one unreadable list ends the reading of all
        for distribution in distributions():
            try:
                declared = list(distribution.entry_points.select(group=GROUP))
            except Exception as error:
                warn_once(EntryPoint("entry_points.txt", str(distribution.metadata["Name"]), GROUP), error)
                continue
            yield from declared


def _fault(system: Any, slug: str) -> str:
    """Return why an object is no system with a slug; "" where it is one."""
    if not (inspect.isclass(system) and issubclass(system, Method)):
        return f"it is a {type(system).__name__} and not a class of a role such as Classifier"
    card = getattr(system, "card", None)
    if not isinstance(card, Card):
        return "its class has no card"
    if card.slug != slug:
        return f"it is not a system with that slug, its card says {card.slug!r}"
    if card.verb not in get_args(Verb):
        return f"its card says verb {card.verb!r}, which is none of {', '.join(get_args(Verb))}"
    if missing := ", ".join(sorted(getattr(system, "__abstractmethods__", ()))):
        return f"its class lacks {missing}"
    return ""


def _sentence(point: EntryPoint, reason: str) -> str:
    return (
        f"The system {point.name!r} of {_package(point)} cannot be used: {reason}; mend or uninstall that package "
        f"({point.value})."
    )


def _package(point: EntryPoint) -> str:
    """Return name and version of the distribution of an entry point, as far as it says them."""
    try:
        name, version = (point.dist.metadata[key] for key in ("Name", "Version"))  # type: ignore[union-attr]
    except Exception:  # a distribution whose metadata is gone
        name, version = None, None
    return " ".join(str(part) for part in (name, version) if part) or "a package without a name"


def _words(error: str | BaseException) -> str:
    """Return an error in one line."""
    if isinstance(error, str):
        return error
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
