"""The command line: parse, call a task, print or answer. ``diptych --help`` and ``diptych systems`` load no torch."""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
import traceback
import warnings
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from diptych import __version__
from diptych.cli import added_commands, completion, config, former, meant, root_help
from diptych.cli.console import say, show
from diptych.cli.flag_values import with_flags
from diptych.cli.flags import option
from diptych.cli.memory import keep_buffers
from diptych.cli.signals import INTERRUPTED
from diptych.core import DataError, DiptychError, PluginWarning, UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.verbs.declare import Verb

EXIT_CODES = (
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 some inputs skipped, 4 not available offline, 5 a bound broken, "
    "130 interrupted."
)


PACKAGE = Path(__file__).parents[1]

VERBS = {
    "demo": "demo:demo",
    "classify": "verbs.classify:Classify",
    "segment": "verbs.segment:Segment",
    "caption": "verbs.caption:Caption",
    "edit": "verbs.edit:Edit",
    "generate": "verbs.generate:Generate",
    "rewrite": "verbs.rewrite:Rewrite",
    "index": "verbs.index:IndexPhotos",
    "search": "verbs.search:Search",
    "link": "verbs.link:LinkTables",
    "detect": "verbs.detect:Detect",
    "encode": "verbs.encode:Encode",
    "extend": "verbs.extend:Extend",
    "export": "verbs.export:Export",
    "serve": "serve:serve",
    "finetune": "verbs.train.finetune:Finetune",
    "pretrain": "verbs.train.pretrain:Pretrain",
    "recommend": "verbs.recommend:Recommend",
    "board": "verbs.board.steps:BOARD",
    "audit": "verbs.audit.steps:AUDIT",
    "curate": "verbs.curate.steps:CURATE",
    "systems": "systems:systems",
    "verify": "verify:verify",
    "check": "health:check",
    "doctor": "health:doctor",
    "models": "models:app",
    "cache": "cache:app",
    "config": "config:config",
    "new-system": "new_system:new_system",
}
"""Verb -> its declaration in diptych.verbs, or the module of diptych.cli with its function or group of commands."""


class Commands(UserDict[str, Any]):
    """Verb -> command, imported when it is looked up: all of them take a quarter of the time of one answer.

    Commands of other packages come after ours, and are looked for only where all are listed or none of ours is meant.
    """

    @cached_property
    def _added(self) -> dict[str, Any]:
        """Name -> entry point of another package; a name of ours is never replaced."""
        return {name: point for name, point in added_commands.added_commands().items() if name not in self.data}

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        if name not in self.data:
            command = added_commands.load_command(self._added[name], _command)
            if command is None:
                raise KeyError(name)
            return command
        command = self.data[name]
        if isinstance(command, str):
            module, _, attribute = command.partition(":")
            declared = module.startswith("verbs.")
            app = getattr(import_module(f"diptych.{module}" if declared else f"diptych.cli.{module}"), attribute)
            if declared:
                from diptych.cli import declared as derived

                if not isinstance(app, type):
                    self.data[name] = _group(name, derived.group(app), app.steps)
                    return self.data[name]
                app = derived.command(app)
            command = self.data[name] = _command(name, app)
        return command

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        return iter((*self.data, *self._loaded()))

    def __len__(self) -> int:
        return len(self.data) + len(self._loaded())

    def _loaded(self) -> list[str]:
        """Return the names of other packages' commands, without those that cannot be loaded."""
        return [name for name, point in self._added.items() if added_commands.load_command(point, _command)]


class StepCommands(UserDict[str, Any]):
    """Step of a verb -> command, made when it is looked up: a call needs one of a dozen.

    Args:
        verb: name of the verb.
        steps: step -> its declaration.
    """

    def __init__(self, verb: str, steps: Mapping[str, type[Verb]]) -> None:
        super().__init__(steps)
        self._verb = verb

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        command = self.data[name]
        if isinstance(command, type):
            from diptych.cli import declared

            command = self.data[name] = _command(name, declared.command(command), f"{self._verb} {name}")
        return command


def _group(name: str, app: typer.Typer, steps: Mapping[str, type[Verb]]) -> Any:
    """Return the command of a verb of several steps."""
    command: Any = get_group(app)
    command.name = name
    _add_examples(command, name)
    _finish(command)
    command.commands = StepCommands(name, steps)
    return command


def _command(name: str, app: Any, words: str = "") -> Any:
    """Return the command of a function or of a group of commands; ``words`` are what is typed for it, where these are
    more than its name.
    """
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False)
        app.command(name)(function)
    command = get_command(app)
    command.name = name
    _add_examples(command, words or name)
    _finish(command)
    return command


def _add_examples(command: Any, name: str) -> None:
    """Put two calls into the help of a command, and of the commands that it has."""
    for inner, step in getattr(command, "commands", {}).items():
        _add_examples(step, f"{name} {inner}")
    if name in root_help.EXAMPLES:
        command.help = (command.help or "") + "".join(f"\n\n\b\n$ diptych {call}" for call in root_help.EXAMPLES[name])


def _finish(command: Any) -> None:
    """Let flags that may be repeated take one value per line from the environment, not one per word, refuse several
    values of another flag, and let the help break lines where the terminal does, not where the source does.
    """
    for inner in getattr(command, "commands", {}).values():
        _finish(inner)
    command.parse_args = partial(_parse, command, command.parse_args)
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or ""))
    for flag in command.params:
        if getattr(flag, "multiple", False):
            flag.value_from_envvar = partial(_lines, flag)


def _parse(command: Any, parse: Callable[[Any, list[str]], list[str]], ctx: Any, args: list[str]) -> list[str]:
    """Parse, also former names of flags, with the defaults of ``diptych.toml``, and refuse several values of a flag
    that takes one, of which all but the last would be lost.
    """
    if ctx.resilient_parsing:  # a shell asks for completions: a remark would stand in the line that is typed
        return parse(ctx, args)
    args = former.renamed(command, ctx, args)
    config.apply(command, ctx)
    typed = args[: args.index("--")] if "--" in args else list(args)
    for flag in command.params:
        if getattr(flag, "multiple", True) or getattr(flag, "is_flag", True):
            continue
        after = [(*word.split("=", 1), *typed[i + 1 : i + 2])[:2] for i, word in enumerate(typed)]
        values = [value for name, value in (pair for pair in after if len(pair) > 1) if name in flag.opts]
        if len(set(values)) > 1:
            several = " and ".join(map(repr, values))
            raise UsageError(f"{flag.opts[0]} takes one value, not {several}: type it once, a list with commas.")
    try:
        return parse(ctx, args)
    except Exception as error:  # by their names: newer versions of typer have click's exceptions of their own
        raise _as_sentence(command, ctx, error) from None


def _as_sentence(command: Any, ctx: Any, error: Exception) -> Exception:
    """Return an error of typer as one sentence: with the flag that is meant, or with an example of the command where a
    word is missing or too many. What is no error, such as the help of a command without words, stays as it is.
    """
    name = f"diptych{ctx.command_path.removeprefix(ctx.find_root().command_path)}"
    examples = re.findall(r"\$ (diptych .+)", command.help or "")
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":
        return meant.flag_meant(name, command, str(getattr(error, "option_name", "")))
    if kind == "MissingParameter" and getattr(parameter, "param_type_name", "") == "argument" and examples:
        needed = [p.metavar or p.name for p in command.params if p.param_type_name == "argument" and p.required]
        needed = [word.strip("{}").lower() for word in needed]
        return UsageError(f"'{name}' needs {' and '.join(needed)}, such as '{examples[0]}'.")
    if kind == "BadOptionUsage" and "requires an argument" in str(getattr(error, "message", "")):
        return UsageError(f"'{name} {getattr(error, 'option_name', '')}' needs a value behind it.")
    if kind == "BadParameter" and parameter is not None:
        spelled = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar or parameter.name
        message = str(getattr(error, "message", "")).rstrip(".")
        return UsageError(f"'{name} {spelled}': {message[:1].lower()}{message[1:]}.")
    extra = re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", str(getattr(error, "message", "")))
    if extra is not None and examples:
        return UsageError(f"'{name}' has no place for {extra[1]!r}: type it as in '{examples[-1]}'.")
    if kind == "NoArgsIsHelpError" or not hasattr(error, "format_message"):
        return error
    message = error.format_message().rstrip(".")
    return UsageError(f"{message}: '{name} --help' shows how it is called.")


def _end_in_a_sentence(command: Any, ctx: Any, error: Exception) -> NoReturn:
    """End with an error of typer as one sentence; raise what is no error, such as an exit."""
    sentence = _as_sentence(command, ctx, error)
    if not isinstance(sentence, UsageError):
        raise error
    say(str(sentence))
    raise typer.Exit(UsageError.exit_code) from None


def _first_sentence(command: Any) -> str:
    line = (command.help or "").strip().partition("\n")[0]
    return re.split(r"(?<=\.)\s", line, maxsplit=1)[0]


def _lines(flag: Any, ctx: Any) -> list[str] | None:
    value = flag.resolve_envvar_value(ctx)
    return None if value is None else [line.strip() for line in value.splitlines() if line.strip()]


def _show_warning(others: Callable[..., None], message: Any, category: type[Warning], *where: Any) -> None:
    """Show our own remarks as sentences, and warnings of other libraries as they come."""
    ours = category is UserWarning and where and Path(where[0]).is_relative_to(PACKAGE)
    if ours or issubclass(category, PluginWarning):
        say(str(message))
    else:
        others(message, category, *where)


def _of_the_system(error: OSError) -> str:
    """Return the sentence of an error of the file system, with the path that stands in the way."""
    remedy = "give another path, or remove what stands in the way (--debug shows where)"
    path = error.filename if error.filename is None or isinstance(error.filename, int) else str(error.filename)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "the disk is full: free some room and run the same again, with --overwrite where files of it exist"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "change its permissions, or give another path"
        while isinstance(path, str) and (above := os.path.dirname(path)) not in ("", path):
            if os.access(above, os.X_OK):
                break
            path = above  # a folder that nobody may look into, and not what we looked for in it
    return f"{'' if path is None else f'{str(path)[:200]}: '}{error.strerror}: {remedy}."


class Verbs(TyperGroup):
    """The root command: errors become one sentence on stderr and an exit code."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = Commands(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; name the package of proofs where one of its commands is meant and it is not there, and else
        the command that is meant.
        """
        if args[0] in added_commands.PROOFS and args[0] not in self.commands and not ctx.resilient_parsing:
            raise added_commands.without_proofs(args[0])
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise meant.command_meant(args, self.commands)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse what stands before the command; without any word the help is shown."""
        try:
            return super().parse_args(ctx, args or ["--help"])
        except KeyboardInterrupt:  # typer would end without a word
            say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            _end_in_a_sentence(self, ctx, error)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return what a shell offers after ``diptych``: flags, or commands without importing ours."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return completion.commands(incomplete, self._added())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write every command in one line, without importing ours."""
        text = root_help.lines(
            inspect.cleandoc(self.help or ""), f"Usage: {ctx.info_name} COMMAND [OPTIONS]", self._added(),
            "--version, --debug, --install-completion;",
            f"{EXIT_CODES} Every flag is also read from DIPTYCH_<FLAG>.",
        )  # fmt: skip
        formatter.write("\n".join(text) + "\n")

    def _added(self) -> dict[str, str]:
        """Return each command of other packages with its sentence."""
        return {name: _first_sentence(self.commands[name]) for name in self.commands if name not in VERBS}

    def _invoke(self, ctx: Any) -> Any:
        """Run a verb; where it fails, end the generators that its frames hold, so that no progress is shown later."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if not ctx.params.get("debug"):
                traceback.clear_frames(error.__traceback__)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; show a traceback only with --debug."""
        try:
            return self._invoke(ctx)
        except DiptychError as error:
            if ctx.params.get("debug"):
                raise
            say(error.spelled(lambda name: "--" + name.replace("_", "-")))
            if line := config.applied(ctx):
                say(line)
            # That 3 says "some were skipped": an item that ended the verb was not.
            raise typer.Exit(DataError.exit_code if isinstance(error, UnreadableItem) else error.exit_code) from None
        except KeyboardInterrupt as error:
            say(with_flags(str(error)) or "Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output, such as head, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if isinstance(error.__cause__, KeyboardInterrupt):  # as Python wraps one that comes while a class is made
                say("Interrupted.")
                raise typer.Exit(INTERRUPTED) from None
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                _end_in_a_sentence(self, ctx, error)
            if ctx.params.get("debug"):
                raise
            if (
                isinstance(error, OSError) and error.strerror
            ):  # a file where a folder should be, a loop of links, a full disk
                say(_of_the_system(error))
                raise typer.Exit(UsageError.exit_code) from None
            if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
                name = (
                    error.object[max(0, error.start - 40) : error.end + 40].encode("utf-8", "backslashreplace").decode()
                )
                say(f"A file name or text is not UTF-8, at ...{name}...: rename it, or set LC_ALL=C.UTF-8.")
                raise typer.Exit(DataError.exit_code) from None
            say(f"This should not happen, please report it: {type(error).__name__}: {error} (--debug shows where).")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Verbs,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        show(f"diptych {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Classify, search, segment and measure images with words, on any CLIP model."""


def main() -> None:
    """Run the command line; see ``cli.__main__``."""
    keep_buffers()
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    app()
