"""What a shell offers while a command is typed: its words come from the help, so that no command is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych.cli import root_help

if TYPE_CHECKING:
    from diptych.verbs.declare import Verb


@dataclass(frozen=True)
class Suggestion:
    """A word that a shell offers, as typer's formatters read it; typer's class of the same fields has moved between
    its versions.
    """

    value: str
    help: str
    type: str = "plain"


def commands(incomplete: str, added: Mapping[str, str]) -> list[Suggestion]:
    """Return the commands that begin with what is typed.

    Args:
        incomplete: beginning of a word.
        added: commands of other packages -> their sentences.
    """
    lines = {name: line for group in root_help.GROUPS.values() for name, line in group.items()}
    return [Suggestion(name, line) for name, line in {**lines, **added}.items() if name.startswith(incomplete)]


def systems(verb: type[Verb] | None = None) -> Callable[[str], list[str]]:
    """Return what completes a slug, or the last one of several with commas between.

    Args:
        verb: whose systems are offered; None: all.
    """

    def offered(incomplete: str) -> list[str]:
        from diptych import catalog

        before, comma, last = incomplete.rpartition(",")
        slugs = catalog.slugs() if verb is None else catalog.of_verb(verb.verb_of_systems())
        return [f"{before}{comma}{slug}" for slug in slugs if slug.startswith(last)]

    return offered
