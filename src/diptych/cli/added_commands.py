"""Commands that other packages bring: entry points of the group ``diptych.commands``, name -> "module:attribute".

The attribute is a function or a ``typer.Typer``. In a checkout the package of proofs lies beside ``src``, and its
commands are those that ``proofs/pyproject.toml`` names, whether or not it is installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import diptych
from diptych.cli.console import say
from diptych.core import UsageError
from diptych.core.entry_points import COMMANDS, declared, sentence

PROOFS = ("prove", "ablate", "rerun")
"""Commands of the package of proofs, which the wheel does not hold."""
CHECKOUT = Path(diptych.__file__).parents[2]
"""Where the package of proofs lies, if this package is that of a checkout."""


def added_commands() -> dict[str, EntryPoint]:
    """Return name -> entry point of each command from outside; those of the checkout replace installed ones.

    Of two distributions of one name the first on the path counts, as when they are imported.
    """
    points = {point.name: point for point in reversed(list(declared(COMMANDS, _report)))}
    return {**points, **_of_checkout()}


@cache
def load_command(point: EntryPoint, make: Callable[[str, Any], Any]) -> Any | None:
    """Import a command; None where that fails, which is said once.

    Args:
        point: name and place of the command.
        make: (name, function or Typer) -> command.
    """
    try:
        if point.dist is None and str(CHECKOUT) not in sys.path:
            sys.path.append(str(CHECKOUT))  # last: the checkout's tests and tools must not hide other packages
        return make(point.name, point.load())
    except Exception as error:  # whatever another package raises on import: other commands go on
        _report(point, error)
        return None


def without_proofs(name: str) -> UsageError:
    """Return what to say of a command of proofs where that package is not there."""
    return UsageError(
        f"diptych {name} belongs to the proofs, which are not installed with diptych: run it in a checkout, or install "
        f"them from there with pip install ./proofs."
    )


def _of_checkout() -> dict[str, EntryPoint]:
    """Return the commands of the proofs beside ``src``; none where this package is not that of a checkout."""
    projects = [path / "pyproject.toml" for path in (CHECKOUT, CHECKOUT / "proofs")]
    if Path(diptych.__file__).parents[1].name != "src" or not all(path.is_file() for path in projects):
        return {}
    try:
        whole, proofs = (tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in projects)
        points = proofs["entry-points"][COMMANDS] if whole["name"] == "diptych" else {}
        return {name: EntryPoint(name, value, COMMANDS) for name, value in points.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _say_once(f"The commands of {projects[1]} cannot be read ({type(error).__name__}: {error}): mend that file.")
        return {}


def _report(point: EntryPoint, reason: str | BaseException) -> None:
    _say_once(sentence(point, reason, "" if point.dist is not None else f"the checkout {CHECKOUT}"))


@cache
def _say_once(message: str) -> None:
    """Say what is wrong with another package, once in a process; in a terminal it is no warning of Python."""
    say(" ".join(message.split()))
