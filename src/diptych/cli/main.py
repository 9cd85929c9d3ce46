"""The command line: parse, call a task, print or answer. ``diptych --help`` and ``diptych systems`` load no torch."""

from __future__ import annotations

import errno
import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from diptych import __version__
from diptych.cli import added_commands, completion, config, meant, root_help
from diptych.cli.commands import VERBS, Commands, as_sentence, first_sentence
from diptych.cli.console import say, show
from diptych.cli.flag_values import with_flags
from diptych.cli.flags import option
from diptych.cli.memory import keep_buffers
from diptych.cli.signals import INTERRUPTED
from diptych.core import DataError, DiptychError, PluginWarning, UnreadableItem, UsageError

EXIT_CODES = (
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 some inputs skipped, 4 not available offline, 5 a bound broken, "
    "130 interrupted."
)


PACKAGE = Path(__file__).parents[1]


def _end_in_a_sentence(command: Any, ctx: Any, error: Exception) -> NoReturn:
    """End with an error of typer as one sentence; raise what is no error, such as an exit."""
    sentence = as_sentence(command, ctx, error)
    if not isinstance(sentence, UsageError):
        raise error
    say(str(sentence))
    raise typer.Exit(UsageError.exit_code) from None


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
        return {name: first_sentence(self.commands[name]) for name in self.commands if name not in VERBS}

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
