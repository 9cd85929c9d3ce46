"""Arguments that only some systems of a verb read: given to another one they are refused, and those that read them are
named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from diptych.core import UsageError

Reads = Callable[[Any], bool]
"""Whether a system, or its class, reads an argument."""


def needs(*names: str) -> Reads:
    """Return whether a card names one of these parts, or one of these fields of the evidence that fit must have."""

    def reads(system: Any) -> bool:
        its = system.card.needs
        return not {*its.parts, *its.optional_parts, *its.evidence}.isdisjoint(names)

    return reads


def uses(*names: str) -> Reads:
    """The same, and fields of the evidence that fit reads where given."""

    def reads(system: Any) -> bool:
        return needs(*names)(system) or not set(system.card.needs.optional).isdisjoint(names)

    return reads


def has(name: str) -> Reads:
    """Return whether a system has this setting."""
    return lambda system: name in getattr(system, "__dataclass_fields__", {})


def looks(system: Any) -> bool:
    """Return whether a system uses the backbone."""
    return bool(system.card.needs.hooks)


def never(system: Any) -> bool:
    """Return False: what no system reads, since it belongs to what runs where none is named."""
    return False


def refuse_unread(system: Any, readers: Mapping[str, Reads], given: Collection[str]) -> None:
    """Refuse arguments that were given and that the system does not read.

    Raises:
        UsageError: there is one; the systems of the verb, and of the same samples, that read it are named.
    """
    slug = system.card.slug
    for name, reads in readers.items():
        if name not in given or reads(system):
            continue
        able = [other.card.slug for other in _systems(system.card.verb) if _alike(other, system) and reads(other)]
        if slug in able:
            raise UsageError(f"This row of {slug} does not read {{{name}}}: leave it out, or give another {{variant}}.")
        if not able:
            raise UsageError(f"{slug} does not read {{{name}}}: leave it out.")
        *some, last = able
        those = f"{', '.join(some)} and {last} do" if some else f"{last} does"
        raise UsageError(
            f"{slug} does not read {{{name}}}, but {those}: leave it out, or choose {'one of these' if some else last} "
            f"with {{method}}."
        )


def _alike(one: Any, other: Any) -> bool:
    """Return whether two systems of a verb take the same samples; only extenders differ in that."""
    return one.card.verb != "extend" or bool(one.samples == other.samples)


def _systems(verb: str) -> list[Any]:
    from diptych import catalog

    return [catalog.find(card["slug"]) for card in catalog.cards() if card["verb"] == verb]
