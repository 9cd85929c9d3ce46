"""``diptych board``: the boards of all verbs, and two measurements of classifiers beside them."""

from __future__ import annotations

from diptych.cli import declared, protocol, several
from diptych.verbs.board.steps import BOARD

app = declared.group(BOARD)
app.command("several-labels")(several.board_several_labels)
app.command("few-shot")(protocol.board_few_shot)
