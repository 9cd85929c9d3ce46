"""The command of a verb, derived from its declaration: flags, help, errors, output and exit code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, short_names, show, show_json
from diptych.cli.unread import typed
from diptych.core import UsageError
from diptych.verbs.declare import Argument, Verb
from diptych.verbs.kinds import MANY_PHOTOS

if TYPE_CHECKING:
    from diptych.core import Backbone, Run
    from diptych.data.keys import FileKeys
    from diptych.verbs.answer import Answer

T = TypeVar("T")
WIDEST = 60
"""Longest name behind which lines are aligned."""


class CommandContext:
    """Where a command runs a verb: the options of the run, and the folder that it writes."""

    def __init__(self, opened: options.Opened, out: Path | None) -> None:
        self.opened, self.out, self._remembers = opened, out, False

    @property
    def keys(self) -> FileKeys:
        """Remembered content keys of files."""
        return self.opened.keys

    def free(self, *names: str) -> None:
        """Refuse files of an earlier run, unless they may be replaced."""
        if self.out is not None:
            self.opened.options.free(*(self.out / name for name in names))

    def model(self, other: Any = None) -> Backbone:
        """Return the backbone of the options, or another one, by its name."""
        loaded = self.opened.backbone(other or "")
        if self._remembers and other is None:
            self.opened.remember(loaded)
        return loaded

    def chosen(self, name: str) -> Backbone:
        """Return the backbone of the options, or that of this name where they have the default."""
        named = self.opened.options.backbone
        return self.opened.backbone(name if named == options.RunOptions.backbone else named)

    def recalled(self) -> tuple[Any, Run] | None:
        """Return the remembered backbone of the options, with its run."""
        self._remembers = True
        return self.opened.recalled

    def run(self) -> Run:
        """Return the run of the options."""
        return self.opened.run

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Fit: a command answers once."""
        return fit()

    def named(self, kind: str, name: str) -> Any:
        """Refuse: only a server is started with things that have names."""
        raise UsageError(f"There is no {kind} {name!r} here: only a server has some.")


def flag_of(verb: type[Verb], name: str) -> str:
    """Return how the command spells an argument, also one that only other commands have."""
    known = verb.arguments("command").get(name)
    if known is not None and _is_positional(verb, name):
        return name.upper()
    return (known.flag if known else "") or "--" + name.replace("_", "-")


def command(verb: type[Verb]) -> Callable[..., None]:
    """Return the function of a command, for ``typer.Typer().command()``."""
    names = verb.arguments("command")

    def run(*, shared: options.RunOptions, out: Path | None = None, **values: Any) -> None:
        asked = verb.made("command", **values).checked([name for name in typed.get() if name in names])
        if verb.report and out is not None:
            asked.check_report(out)
            shared.free(out)
        shared.writable(out if verb.out else out and out.parent)
        with shared.open(seed=getattr(asked, "seed", 0)) as opened:
            code = _answer(asked, CommandContext(opened, out if verb.out else None), shared, out)
        finish(*code)

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, **_flag(verb, name, a)) for name, a in names.items()
    ]
    if verb.out:
        kind = Annotated[Path, options.option("--out", "-o", help=verb.out_help)]
        parameters.append(
            inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=Path(verb.out), annotation=kind)
        )
    if verb.report:
        report = Annotated[Path | None, options.option("--out", "-o", help=verb.report)]
        parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=report))
    defaults = options.RunOptions(**verb.run_options)
    parameters.append(
        inspect.Parameter("shared", inspect.Parameter.KEYWORD_ONLY, default=defaults, annotation=options.RunOptions)
    )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    derived = options.offers(*verb.offers)(run)
    lines = "".join(f"\n\n\b\n$ diptych {line}" for line in verb.examples)
    derived.__doc__ = f"{(verb.__doc__ or '').strip()}{lines}"
    return derived


def option_of(verb: type[Verb], name: str) -> Any:
    """Return the flag of an argument, for a command that shares it."""
    a = verb.arguments("command")[name]
    help = a.help if a.range is None else f"{a.help.rstrip('.')}; {a.range.words}."
    names = [flag_of(verb, name), *([a.short] if a.short else [])]
    return options.option(*names, help=help, rich_help_panel=a.panel or None)


def _flag(verb: type[Verb], name: str, a: Argument) -> dict[str, Any]:
    """Return the annotation and the default of a flag."""
    (field,) = (f for f in fields(verb) if f.name == name)
    kind = a.kind.command or verb.type_of(name)
    if field.default is MISSING:
        return {"annotation": Annotated[kind, typer.Argument(help=a.help)]}
    default = None if field.default == () else field.default
    if _is_positional(verb, name):
        return {"annotation": Annotated[kind | None, typer.Argument(help=a.help)], "default": default}
    if kind in (str, int, float) and default is None:
        kind = kind | None
    return {"annotation": Annotated[kind, option_of(verb, name)], "default": default}


def _is_positional(verb: type[Verb], name: str) -> bool:
    """Return whether the command takes an argument without a flag: what a verb must have, and photos."""
    must = next(f for f in fields(verb) if f.name == name).default is MISSING
    return must or verb.arguments("command")[name].kind is MANY_PHOTOS


def _answer(
    asked: Verb, context: CommandContext, shared: options.RunOptions, report: Path | None = None
) -> tuple[list[Any]]:
    """Run a verb, print and write its answer, and return what was left out."""
    answer: Answer[Any] = asked.run(context)
    every = list(answer.names())
    shown = dict(zip(every, short_names(every), strict=True))
    width = max(map(len, shown.values()), default=0)
    width = width if width <= WIDEST else 0
    items, rows = [], []
    for item in answer:
        row = answer.row(item)
        if context.out is not None:
            row |= answer.write(item, context.out, overwrite=shared.overwrite)
        rows.append(row)
        items.append(item if answer.ranked else None)
        if not shared.json and not answer.ranked:
            _line(answer, item, shown, width)
    remarks = [_spelled(line, type(asked)) for line in answer.remarks(items)]
    data = answer.data(rows, remarks)
    ends = answer.ends()
    if context.out is not None:
        ends += answer.close(context.out, data, overwrite=shared.overwrite)
    elif report is not None:
        answer.report(report, data, overwrite=shared.overwrite)
    if shared.json:
        show_json(data)
    for item in answer.order(items) if answer.ranked and not shared.json else ():
        _line(answer, item, shown, width)
    for line in (*remarks, *ends):
        say(line)
    return (answer.failed,)


def _line(answer: Answer[Any], item: Any, shown: Mapping[str, str], width: int) -> None:
    name = answer.name(item)
    show(answer.printed(item, shown.get(name, name), width))


def _spelled(line: str, verb: type[Verb]) -> str:
    return UsageError(line).spelled(lambda name: flag_of(verb, name))
