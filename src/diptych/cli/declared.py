"""The command of a verb, derived from its declaration: flags, help, errors, output and exit code."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych import __version__
from diptych.cli import completion, options, recipe_file
from diptych.cli.console import (
    finish,
    one_line,
    say,
    say_skipped,
    short_names,
    show,
    show_json,
    show_parts,
    show_table,
)
from diptych.cli.context import CommandContext
from diptych.cli.flags import BACKBONE_NAMES, option
from diptych.cli.offers import Steps, offers
from diptych.cli.trial import DRY_RUN, show_trial
from diptych.cli.unread import refuse_unread, typed
from diptych.core import UsageError
from diptych.core.wording import aligned, number_of
from diptych.data.files import address_of
from diptych.verbs.arguments import Argument
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import MANY_PHOTOS
from diptych.verbs.reads import looks

if TYPE_CHECKING:
    from diptych.verbs.answer import Answer
    from diptych.verbs.group import Group

WIDEST = 60
"""Longest name behind which lines are aligned."""


def flag_of(verb: type[Verb], name: str) -> str:
    """Return how the command spells an argument, also one that only other commands have."""
    known = verb.arguments("command").get(name)
    if known is not None and (known.word or _is_positional(verb, name)):
        return known.flag or name.upper()
    return (known.flag if known else "") or "--" + name.replace("_", "-")


def command(verb: type[Verb]) -> Callable[..., None]:
    """Return the function of a command, for ``typer.Typer().command()``."""
    names = verb.arguments("command")
    usual = str(verb.run_options.get("backbone", options.RunOptions.backbone))

    def run(
        *, shared: options.RunOptions, out: Path | None = None, dry_run: bool = False, model: str = "",
        recipe: Path | None = None, **values: Any,
    ) -> None:  # fmt: skip
        shared = replace(shared, backbone=model) if verb.on_model else shared
        out = None if out is None else out.expanduser()  # shells leave the ~ of --out=~/x as it is
        parsed, written = verb.parsed("command", **values), out if verb.out else None
        with nullcontext() if verb.learns_in_steps else _interruptible(parsed, out):  # systems take long to import
            checked = parsed.checked([name for name in typed.get() if name in names])
        verb.check_out(written)
        unfinished = _unfinished(checked, shared, out)
        if unfinished is not None and unfinished.exists():
            shared = replace(shared, overwrite=True)  # files of the same command, which was stopped
        if verb.report and out is not None:
            checked.check_report(out)
            shared.free(out)
        shared.writable(out if verb.out and not verb.out_is_file else out and out.parent)
        if checked.chooses():
            refuse_unread(checked.system(), {"backbone": looks}, flag_of(verb, "method"))
        with shared.open(seed=getattr(checked, "seed", 0)) as opened:
            if dry_run:
                show_trial(lambda: next(iter(checked.run(CommandContext(opened, None, usual))), None))
                return
            context = CommandContext(opened, written, usual, unfinished)
            with _announced(context) if verb.learns_in_steps else _interruptible(checked, out, opened.tally):
                answer = _answer(checked, context, shared, out)
            if unfinished is not None and unfinished.exists():
                shutil.rmtree(unfinished.parent, ignore_errors=True)  # also what other questions left there
        finish(answer.failed, answer.exit_code, unnamed=answer.unnamed)

    parameters = [_parameter(verb, name, a) for name, a in names.items()]
    if verb.on_model:
        word = Annotated[str, typer.Argument(help=BACKBONE_NAMES, metavar="BACKBONE")]
        parameters.insert(0, _keyword("model", word, options.RunOptions.backbone))
    if verb.out:
        parameters.append(_keyword("out", Annotated[Path, option("--out", "-o", help=verb.out_help)], Path(verb.out)))
    if verb.report:
        parameters.append(_keyword("out", Annotated[Path | None, option("--out", "-o", help=verb.report)], None))
    if "settings" in names and verb.trains:
        parameters.append(_keyword("dry_run", Annotated[bool, option("--dry-run", help=DRY_RUN)], False))
    if verb.learns_in_steps:
        parameters.append(_keyword("recipe", recipe_file.RecipeFile, None))
    by_batch = options.AutoOptions if verb.run_options.get("batch") == 0 else options.RunOptions
    shared_options = options.LoaderOptions if verb.learns_in_steps else by_batch
    parameters.append(_keyword("shared", shared_options, shared_options(**verb.run_options)))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.locked = verb.locked  # type: ignore[attr-defined]
    derived = offers(*verb.offers)(run)
    lines = "".join(f"\n\n\b\n$ diptych {line}" for line in verb.examples)
    derived.__doc__ = f"{inspect.cleandoc(verb.__doc__ or '')}{lines}"
    return derived


def _unfinished_in(verb: Verb, out: Path | None) -> Path | None:
    """Return the folder that holds what a command finished until it ends; None where nothing can be kept."""
    if out is None or not (verb.goes_on or "cluster" in verb.offers) or address_of(out) is not None:
        return None
    is_file = verb.report or verb.out_is_file
    return out.with_name(f"{out.name}.unfinished") if is_file else out / "unfinished"


def _unfinished(verb: Verb, shared: options.RunOptions, out: Path | None) -> Path | None:
    """Return the folder of what the same command finished before it was stopped; None as ``_unfinished_in``."""
    if (folder := _unfinished_in(verb, out)) is None:
        return None
    from diptych.evaluation.kept import digest

    return folder / digest([__version__, verb, shared.backbone, shared.precision])[:12]


def _announced(context: CommandContext) -> AbstractContextManager[None]:
    """Say what is saved where a signal ends a training while its data and its model are opened."""
    from diptych.train.stopping import announced

    return announced(context.say, "the same training with {resume} goes on from there", context.out)


@contextmanager
def _interruptible(verb: Verb, out: Path | None, tally: Mapping[str, int] = MappingProxyType({})) -> Iterator[None]:
    """Say at Ctrl-C what is saved, and what the same command does with it."""
    with interruptible(lambda: _saved(verb, out, *verb.saved(out if verb.out else None)), tally):
        yield


@contextmanager
def interruptible(
    saved: Callable[[], tuple[str, str]], tally: Mapping[str, int] = MappingProxyType({})
) -> Iterator[None]:
    """Say at Ctrl-C what is saved, and what the same command does with it.

    Args:
        saved: see ``Verb.saved``.
        tally: counts of vectors in the cache, see ``core.run.Run``.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        if interruption.args:
            raise
        files, remedy = saved()
        vectors = tally.get("encoded", 0) + tally.get("cached", 0)
        cached = f"{number_of(vectors, 'vector is', 'vectors are')} in the cache" if vectors else ""
        every = " and ".join(filter(None, (files, cached))) or "nothing is saved"
        again = f"the same command begins again{' with them' if cached else ''}"
        raise KeyboardInterrupt(f"Interrupted: {every}; {remedy or again}.") from None


def _saved(verb: Verb, out: Path | None, files: str, remedy: str) -> tuple[str, str]:
    """Return what is saved in files, or in the folder of what was finished, and what goes on from it."""
    folder = _unfinished_in(verb, out)
    if folder is None or not folder.exists():
        return files, remedy
    return files or f"what was finished is in {folder}", "the same command goes on from there"


def group(verbs: Group) -> typer.Typer:
    """Return the command of several steps, without them."""
    return typer.Typer(cls=Steps, help=verbs.help, no_args_is_help=True, add_completion=False)


def option_of(verb: type[Verb], name: str) -> Any:
    """Return the flag of an argument, for a command that shares it."""
    a = verb.arguments("command")[name]
    help = a.help if a.range is None else f"{a.help.rstrip('.')}; {a.range.words}."
    names = [flag_of(verb, name), *([a.short] if a.short else [])]
    completes = {"autocompletion": completion.systems(verb)} if a.kind.slugs else {}
    return option(*names, help=help, rich_help_panel=a.panel or None, **completes)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """Return a parameter of a command's function, which is given by its name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(verb: type[Verb], name: str, a: Argument) -> inspect.Parameter:
    """Return the parameter of an argument: a word of the command line, or a flag."""
    (field,) = (f for f in fields(verb) if f.name == name)
    kind, default = a.kind.command or verb.type_of(name), field.default
    if default is MISSING:
        default = inspect.Parameter.empty
    elif isinstance(default, tuple):
        default = ",".join(map(str, default)) if default else None
    if default is None and kind in (str, int, float, list[str]):
        kind = kind | None
    if a.word or _is_positional(verb, name):
        return _keyword(name, Annotated[kind, typer.Argument(help=a.help, metavar=a.flag or None)], default)
    return _keyword(name, Annotated[kind, option_of(verb, name)], default)


def _is_positional(verb: type[Verb], name: str) -> bool:
    """Return whether the command takes an argument without a flag: what a verb must have by position, and photos."""
    must, a = next(f for f in fields(verb) if f.name == name).default is MISSING, verb.arguments("command")[name]
    return (must and a.positional) or a.kind is MANY_PHOTOS


def _answer(verb: Verb, context: CommandContext, shared: options.RunOptions, report: Path | None = None) -> Answer[Any]:
    """Run a verb, print and write its answer, and return it."""
    answer: Answer[Any] = verb.run(context)
    if answer.unseen:
        return answer
    every = list(answer.names())
    shown = dict(zip(every, aligned(short_names(every), WIDEST), strict=True))
    items, rows, written = [], [], 0

    def saved() -> tuple[str, str]:
        if not written:
            return _saved(verb, report, *verb.saved(context.out))
        count = f"{written:,} of {len(every):,}" if every else f"{written:,}"
        files = f"files of {count} {answer.rows_key} are in {context.out}"
        return _saved(verb, report, files, "the same command with {overwrite} makes every file again")

    with interruptible(saved, context.opened.tally), answer:
        for item in answer:
            row = {**answer.row(item)}
            if context.out is not None:
                files = answer.write(item, context.out, overwrite=shared.overwrite)
                row, written = row | files, written + bool(files)
            rows.append(row)
            items.append(item if answer.ranked else None)
            if answer.listed and not shared.json and not answer.ranked:
                _line(answer, item, shown)
    remarks = [_spelled(line, type(verb)) for line in answer.remarks(items)]
    data = answer.data(rows, remarks)
    ends = answer.ends()
    if reused := context.opened.tally["reused"]:
        ends.append(f"{number_of(reused, 'result is', 'results are')} from the same command, which was stopped.")
    if context.out is not None:
        ends += answer.close(context.out, data, overwrite=shared.overwrite)
    elif report is not None:
        ends += answer.report(report, data, overwrite=shared.overwrite)
    if shared.json:
        show_json(data)
    for item in answer.order(items) if answer.ranked and not shared.json else ():
        _line(answer, item, shown)
    for line in [] if shared.json else answer.summary(context.out):
        show(line)
    show_parts([] if shared.json else answer.tables())
    if not shared.json and (cells := answer.cells()):
        show_table(["", ""], cells, right=answer.right)
    for line in (*answer.notes(), *remarks, *ends):
        say(line)
    if (verdict := answer.verdict()) is not None:
        say_skipped(answer.failed, unnamed=answer.unnamed)
        raise verdict
    return answer


def _line(answer: Answer[Any], item: Any, shown: Mapping[str, str]) -> None:
    name = answer.name(item)
    show(answer.printed(item, shown.get(name) or one_line(name)).rstrip())


def _spelled(line: str, verb: type[Verb]) -> str:
    return UsageError(line).spelled(lambda name: flag_of(verb, name))
