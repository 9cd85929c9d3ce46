"""Systems of other packages, by their entry points.

A broken entry point warns once in a process, with the name of its distribution and the error, and is left out. Whoever
asks for its system by name gets the same sentence as an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any, get_args

from diptych.core.card import Card, Verb
from diptych.core.entry_points import SYSTEMS, declared, package, sentence, warn_once
from diptych.core.errors import UsageError
from diptych.core.method import Method

_given: dict[str, EntryPoint] = {}


def points(taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """Return slug -> entry point of the systems of other packages; none of them is imported.

    Args:
        taken: slugs of our own systems. An entry point with such a slug is left out with a warning, and so is the
            second of two with one slug.

    Example:
        >>> isinstance(points(), dict)
        True
    """
    systems = {slug: point for slug, point in _given.items() if slug not in taken}
    for point in declared(SYSTEMS):
        if point.name in _given:
            continue
        if point.name in taken:
            warn_once(point, "its slug is that of a system of diptych")
        elif point.name in systems:
            if systems[point.name].value != point.value or package(systems[point.name]) != package(point):
                warn_once(point, f"its slug is that of a system of {package(systems[point.name])}")
        else:
            systems[point.name] = point
    return systems


def load(point: EntryPoint) -> type[Method]:
    """Import and return the system of an entry point.

    Raises:
        UsageError: the import fails, or what it names is no system with that slug; the error names the distribution.
    """
    try:
        system = point.load()
    except (Exception, SystemExit) as error:  # whatever the code of a stranger does when it is imported
        raise UsageError(sentence(point, error)) from error
    if fault := _fault(system, point.name):
        raise UsageError(sentence(point, fault))
    return system  # type: ignore[no-any-return]


@contextmanager
def installed(system: type[Method]) -> Iterator[None]:
    """Let a system be known by the slug of its card inside, as if its package had an entry point."""
    slug, before = system.card.slug, dict(_given)
    _given[slug] = EntryPoint(slug, f"{system.__module__}:{system.__qualname__}", SYSTEMS)
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


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
