from __future__ import annotations

import inspect

import diptych
from diptych import catalog
from diptych.verbs.board.board import SystemsBoard
from diptych.verbs.board.steps import BOARD


def test_every_verb_with_systems_has_a_board_or_says_why_not() -> None:
    verbs = {card["verb"] for card in catalog.cards()}
    assert verbs - set(BOARD.steps) == {"edit", "rewrite"}  # pictures and prompts, which no label judges
    assert all(verb.systems_of == name for name, verb in BOARD.steps.items() if issubclass(verb, SystemsBoard))


def test_python_has_every_board() -> None:
    for name, verb in BOARD.steps.items():
        function = getattr(diptych.board, name.replace("-", "_"))
        more = {"out", "overwrite"} if verb.python_out else set()
        assert {"model", *more, *verb.arguments("python")} == set(inspect.signature(function).parameters)
    assert diptych.board.classify is diptych.board
