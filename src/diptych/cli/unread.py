"""Options that only some systems of a verb read: given to another one they are refused, and those that read them are
named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from diptych.core import DiptychError, UsageError
from diptych.verbs import reads
from diptych.verbs.reads import Reads

typed: ContextVar[Mapping[str, str]] = ContextVar("typed", default=MappingProxyType({}))
"""Parameters that stand on the running command line, with their flags; see ``typed_on``."""

running: ContextVar[Any] = ContextVar("running", default=None)
"""Typer's context of the running command; see ``typed_on``."""


@contextmanager
def typed_on(context: Any) -> Iterator[None]:
    """Know within the block what stands on the command line, and spell the arguments of its errors as flags."""
    sources = {p.name: context.get_parameter_source(p.name) for p in context.command.params}
    given = {p.name: p.opts[0] for p in context.command.params if getattr(sources[p.name], "name", "") == "COMMANDLINE"}
    flags = {
        p.name: p.opts[0] if p.param_type_name == "option" else p.metavar or str(p.name).upper()
        for p in context.command.params
    }
    token, command = typed.set(given), running.set(context)
    try:
        yield
    except DiptychError as error:
        error.args = (error.spelled(lambda name: flags.get(name, "--" + name.replace("_", "-"))), *error.args[1:])
        raise
    finally:
        typed.reset(token)
        running.reset(command)


def refuse_unread(system: Any, readers: Mapping[str, Reads], choose: str = "--method") -> None:
    """Refuse options of the running command that its system does not read. What the environment sets is a default for
    many commands, and is left alone.

    Args:
        system: or its class.
        readers: parameter -> which systems read it.
        choose: flag that names the system.

    Raises:
        UsageError: such an option stands on the command line.
    """
    try:
        reads.refuse_unread(system, readers, typed.get())
    except UsageError as error:
        raise UsageError(error.args[0].replace("{method}", choose)) from None


def refuse_idle(reason: str, *names: str) -> None:
    """Refuse options of the running command that have no effect, whatever the system; the reason begins a sentence.

    Raises:
        UsageError: one of them stands on the command line.
    """
    for name in names:
        if name in typed.get():
            raise UsageError(f"{reason}, so {typed.get()[name]} has no effect: leave it out.")
