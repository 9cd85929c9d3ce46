"""The command line: parse, call a task, print or answer. ``diptych --help`` and ``diptych systems`` load no torch."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from diptych import __version__
from diptych.cli import (
    ablate,
    audit,
    board,
    cache,
    caption,
    classify,
    curate,
    demo,
    detect,
    edit,
    encode,
    export,
    extend,
    finetune,
    health,
    index,
    link,
    models,
    new_system,
    options,
    pretrain,
    protocol,
    prove,
    rerun,
    segment,
    several,
    systems,
    verb_boards,
    verify,
)
from diptych.cli.console import say, show
from diptych.cli.memory import keep_buffers
from diptych.core.errors import DiptychError

EXIT_CODES = "Exit codes: 0 ok, 1 failed, 2 usage, 3 some inputs skipped, 4 not available offline, 5 a bound broken, 130 interrupted."


class Verbs(TyperGroup):
    """The root command: errors become one sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; show a traceback only with --debug."""
        try:
            return super().invoke(ctx)
        except DiptychError as error:
            if ctx.params.get("debug"):
                raise
            say(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output, such as head, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if ctx.params.get("debug") or hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise
            say(f"This should not happen, please report it: {type(error).__name__}: {error} (--debug shows where).")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES + " Every flag is also read from DIPTYCH_<FLAG>.",
)


def _version(asked: bool) -> None:
    if asked:
        show(f"diptych {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
    debug: Annotated[bool, options.option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """One core for the systems of the CLIP era: classify, measure and explain images with words, on any CLIP."""


app.command("demo")(demo.demo)
app.command("classify")(classify.classify)
app.command("segment")(segment.segment)
app.command("caption")(caption.caption)
app.command("edit")(edit.edit)
app.command("index")(index.index)
app.command("search")(index.search)
app.command("link")(link.link)
app.command("detect")(detect.detect)
app.command("encode")(encode.encode)
app.command("extend")(extend.extend)
app.command("export")(export.export)
app.command("finetune")(finetune.finetune)
app.command("pretrain")(pretrain.pretrain)
board.app.command("detect")(verb_boards.board_detect)
board.app.command("retrieve")(verb_boards.board_retrieve)
board.app.command("segment")(verb_boards.board_segment)
board.app.command("caption")(verb_boards.board_caption)
board.app.command("extend")(verb_boards.board_extend)
board.app.command("finetune")(verb_boards.board_finetune)
board.app.command("pretrain")(verb_boards.board_pretrain)
board.app.command("several-labels")(several.board_several_labels)
board.app.command("few-shot")(protocol.board_few_shot)
app.add_typer(board.app, name="board")
app.add_typer(audit.app, name="audit")
app.add_typer(curate.app, name="curate")
app.command("ablate")(ablate.ablate)
app.command("systems")(systems.systems)
app.command("prove")(prove.prove)
app.command("rerun")(rerun.rerun)
app.command("verify")(verify.verify)
app.command("check")(health.check)
app.command("doctor")(health.doctor)
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.command("new-system")(new_system.new_system)


def main() -> None:
    """Run the command line."""
    keep_buffers()
    app()
