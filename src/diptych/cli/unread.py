"""Options that only some systems of a verb read: given to another one they are refused, and those that read them are
named.

Each verb lists its own such options as ``READERS``, beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from diptych.core import UsageError

Reads = Callable[[Any], bool]
"""Whether a system, or its class, reads an option."""
Readers = Mapping[str, Reads]
"""Parameter of a verb -> which systems read it; the other parameters are read whatever the system."""

typed: ContextVar[Mapping[str, str]] = ContextVar("typed", default=MappingProxyType({}))
"""Parameters that stand on the running command line, with their flags; see ``typed_on``."""


@contextmanager
def typed_on(context: Any) -> Iterator[None]:
    """Know within the block what stands on the command line."""
    sources = {p.name: context.get_parameter_source(p.name) for p in context.command.params}
    given = {p.name: p.opts[0] for p in context.command.params if getattr(sources[p.name], "name", "") == "COMMANDLINE"}
    token = typed.set(given)
    try:
        yield
    finally:
        typed.reset(token)


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


def refuse_unread(system: Any, readers: Readers, choose: str = "--method") -> None:
    """Refuse options of the running command that its system does not read. What the environment sets is a default for
    many commands, and is left alone.

    Raises:
        UsageError: such an option stands on the command line.
    """
    flags, slug = typed.get(), system.card.slug
    for name, reads in readers.items():
        if name not in flags or reads(system):
            continue
        flag = flags[name]
        able = [other.card.slug for other in _systems(system.card.verb) if reads(other)]
        if slug in able:
            raise UsageError(f"This row of {slug} does not read {flag}: leave it out, or give another --variant.")
        if not able:
            raise UsageError(f"{slug} does not read {flag}: leave it out.")
        *some, last = able
        those = f"{', '.join(some)} and {last} do" if some else f"{last} does"
        raise UsageError(
            f"{slug} does not read {flag}, but {those}: leave it out, or choose {'one of these' if some else last} "
            f"with {choose}."
        )


def refuse_idle(reason: str, *names: str) -> None:
    """Refuse options of the running command that have no effect, whatever the system; the reason begins a sentence.

    Raises:
        UsageError: one of them stands on the command line.
    """
    for name in names:
        if name in typed.get():
            raise UsageError(f"{reason}, so {typed.get()[name]} has no effect: leave it out.")


def _systems(verb: str) -> list[Any]:
    from diptych import catalog

    return [catalog.find(card["slug"]) for card in catalog.cards() if card["verb"] == verb]
