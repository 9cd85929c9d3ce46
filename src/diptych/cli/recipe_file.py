"""Recipe files: the options of a training, which repeat it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.flags import option
from diptych.cli.unread import running
from diptych.core import UsageError

NOT_REPEATED = frozenset(("recipe", "out", "resume", "dry_run", "json", "overwrite"))
"""Options that a recipe file does not have: where results go, and what is shown."""
OF_THE_MACHINE = frozenset(("cache", "device", "workers"))
"""Options that are not written to a recipe file, since another machine has others; a file may have them."""

FORMER = {"table": "data", "objective": "method"}
"""Names that options of recipe files had, with those of today."""


def read_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Take the values of a recipe file for the options that the command line does not give.

    Raises:
        UsageError: the file cannot be read, or has options that the command does not.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read as a recipe ({error.strerror}): give the recipe.toml of a training."
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is not a recipe ({str(error)[:80]}): give the recipe.toml of a training.") from None
    verb = values.pop("command", context.info_name)
    known = {p.name for p in context.command.params} - NOT_REPEATED
    given = {name.replace("-", "_"): value for name, value in values.items()}
    given = {new: given[old] for old, new in FORMER.items() if old in given} | {
        name: value for name, value in given.items() if name not in FORMER
    }
    if verb != context.info_name or (strange := sorted(given.keys() - known)):
        problem = f"is for {verb}" if verb != context.info_name else f"has {', '.join(strange)}"
        raise UsageError(f"{path} {problem}, which diptych {context.info_name} does not take: change the file.")
    context.default_map = {**(context.default_map or {}), **given}
    return path


RecipeFile = Annotated[
    Path | None,
    option(
        "--recipe",
        help="recipe.toml of an earlier training: its options apply unless you give others here.",
        is_eager=True,
        callback=read_recipe,
    ),
]


def recipe_text() -> str:
    """Return the recipe file of the running command: every option that has a value and is not of the machine, as
    TOML.
    """
    context = running.get()
    lines = [f"command = {json.dumps(context.info_name)}"]
    for name, value in sorted(context.params.items()):
        if name not in NOT_REPEATED | OF_THE_MACHINE and value is not None and value not in ([], ()):
            plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            lines.append(f"{name.replace('_', '-')} = {json.dumps(plain)}")
    return "\n".join(lines) + "\n"
