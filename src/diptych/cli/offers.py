"""Commands of functions that take dataclasses of options, and verbs of several commands."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from diptych.cli.options import RunOptions
from diptych.cli.unread import typed_on
from diptych.core import UsageError
from diptych.tasks.sole_writer import sole_writer


def offers(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function that takes dataclasses of options: every field that is annotated as an option is a
    flag, those of ``RunOptions`` only where they are named.

    Args:
        names: fields of ``RunOptions`` that the command offers. The others keep the values of the parameter's default.
            Where ``engine`` is offered, so is ``verbose``, which says what it chose.
    """
    names = (*names, "verbose") if "engine" in names else names

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        locked: Callable[[Path | None], Path | None] = getattr(function, "locked", lambda out: out)
        flags: list[inspect.Parameter] = []
        groups: dict[str, tuple[Any, list[str]]] = {}
        wanted: list[str] = []  # parameters that take typer's context
        for p in inspect.signature(function, eval_str=True).parameters.values():
            if p.annotation is typer.Context:
                wanted.append(p.name)
                continue
            if not is_dataclass(p.annotation):
                flags.append(p.replace(kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            hints = typing.get_type_hints(p.annotation, include_extras=True)
            options_of_group: Any = (
                p.default if p.default is not p.empty else typing.cast(Callable[[], Any], p.annotation)()
            )
            shown = [
                f.name
                for f in fields(options_of_group)
                if typing.get_origin(hints[f.name]) is Annotated
                and (f.name in names or not isinstance(options_of_group, RunOptions))
            ]
            groups[p.name] = options_of_group, shown
            flags += [
                inspect.Parameter(
                    n, inspect.Parameter.KEYWORD_ONLY, default=getattr(options_of_group, n), annotation=hints[n]
                )
                for n in shown
            ]

        @functools.wraps(function)
        def command(*, context: typer.Context, **given: Any) -> None:
            for name, (options_of_group, shown) in groups.items():
                given[name] = replace(options_of_group, **{n: given.pop(n) for n in shown})
            with typed_on(context), sole_writer(locked(_written(given))):
                function(**given, **dict.fromkeys(wanted, context))

        flags.append(inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        command.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
        command.__annotations__ = {}  # the signature holds them, evaluated
        return command

    return decorate


def _written(given: Mapping[str, Any]) -> Path | None:
    """Return the output of a command."""
    every = [given, *(vars(value) for value in given.values() if is_dataclass(value))]
    out = next((options["out"] for options in every if options.get("out") is not None), None)
    return out if isinstance(out, Path) else None


class Steps(TyperGroup):
    """A verb of several commands: a first word that is none of them is answered with the line to type."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names.

        Raises:
            UsageError: it names none.
        """
        if args and args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            verb, given = f"diptych {ctx.info_name}", " ".join(args)
            from difflib import get_close_matches

            if near := get_close_matches(args[0], self.commands, n=1, cutoff=0.8):
                raise UsageError(f"{verb} has no {args[0]!r}: say '{' '.join([verb, *near, *args[1:]])}'.")
            takers = [n for n, c in self.commands.items() if any(p.param_type_name == "argument" for p in c.params)]
            if 2 * len(takers) < len(self.commands):  # the word is no data for a step that was left out
                raise UsageError(f"{verb} has no {args[0]!r}: it has {', '.join(self.commands)}.")
            lines = " or ".join(f"'{verb} {name} {given}'" for name in takers[:3])
            raise UsageError(f"{verb} takes {', '.join(self.commands)} before {args[0]!r}: say {lines}.")
        return super().resolve_command(ctx, args)
