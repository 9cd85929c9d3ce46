"""``diptych board``: the boards of all verbs under one command."""

from __future__ import annotations

import typer

from diptych.cli import board, options, protocol, several, verb_boards
from diptych.cli.audit.board import board_audit

app = typer.Typer(
    cls=options.Steps, help="Measure every fitting system on one data set.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _board() -> None:
    """Measure every fitting system on one data set."""


app.command("classify")(board.board_classify)
app.command("detect")(verb_boards.board_detect)
app.command("retrieve")(verb_boards.board_retrieve)
app.command("segment")(verb_boards.board_segment)
app.command("audit")(board_audit)
app.command("caption")(verb_boards.board_caption)
app.command("curate")(verb_boards.board_curate)
app.command("extend")(verb_boards.board_extend)
app.command("finetune")(verb_boards.board_finetune)
app.command("pretrain")(verb_boards.board_pretrain)
app.command("several-labels")(several.board_several_labels)
app.command("few-shot")(protocol.board_few_shot)
