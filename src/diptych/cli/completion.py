"""What a shell offers while a command is typed: its words come from the help, so that no command is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diptych.cli import root_help


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
