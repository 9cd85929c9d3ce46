"""The commands by their names, made when they are looked up, and what parsing adds to those of typer: former names of
flags, defaults of ``diptych.toml``, and errors as one sentence.
"""

from __future__ import annotations

import inspect
import re
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.main import get_command, get_group

from diptych.cli import added_commands, config, former, meant, root_help
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.verbs.declare import Verb

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
        raise as_sentence(command, ctx, error) from None


def as_sentence(command: Any, ctx: Any, error: Exception) -> Exception:
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


def first_sentence(command: Any) -> str:
    """Return the first sentence of a command's help."""
    line = (command.help or "").strip().partition("\n")[0]
    return re.split(r"(?<=\.)\s", line, maxsplit=1)[0]


def _lines(flag: Any, ctx: Any) -> list[str] | None:
    value = flag.resolve_envvar_value(ctx)
    return None if value is None else [line.strip() for line in value.splitlines() if line.strip()]
