from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from diptych.cli import options
from diptych.cli.flags import option
from diptych.cli.offers import offers

Cli = Callable[..., Any]


@dataclass(frozen=True)
class Size:
    """A group of options, one of which is no flag."""

    width: Annotated[int, option("--width", help="Columns.")] = 3
    fixed: int = 7


def answer(function: Callable[..., None], *words: str) -> list[str]:
    app = typer.Typer()
    app.command()(function)
    found = CliRunner().invoke(app, words)
    return found.output.splitlines() if found.exit_code == 0 else [f"exit {found.exit_code}"]


def test_offered_options_are_flags_and_the_others_keep_their_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIPTYCH_BATCH", raising=False)
    tiny = options.RunOptions(backbone="tiny", workers=1)

    @offers("backbone", "batch")
    def verb(name: str, *, size: Size, shared: options.RunOptions = tiny) -> None:
        typer.echo(f"{name} {size.width} {size.fixed} {shared.backbone} {shared.batch} {shared.workers}")

    assert answer(verb, "a") == ["a 3 7 tiny 32 1"]
    assert answer(verb, "a", "--width", "5", "-b", "lite", "--batch", "2") == ["a 5 7 lite 2 1"]
    assert answer(verb, "a", "--workers", "4") == ["exit 2"]
    assert answer(verb, "a", "--fixed", "4") == ["exit 2"]
    monkeypatch.setenv("DIPTYCH_BATCH", "9")
    assert answer(verb, "a") == ["a 3 7 tiny 9 1"]


def test_a_command_may_ask_for_its_context() -> None:
    @offers("backbone")
    def verb(name: str, context: typer.Context, *, shared: options.RunOptions) -> None:
        typer.echo(f"{name} {context.get_parameter_source('name').name}")

    assert answer(verb, "a") == ["a COMMANDLINE"]


def test_a_misspelt_step_is_answered_with_the_line_to_type(diptych: Cli) -> None:
    got = diptych("board", "clasify", "photos", "--shots", "1")
    assert (got.code, got.err) == (
        2, "diptych board has no 'clasify': say 'diptych board classify photos --shots 1'.\n",
    )  # fmt: skip
    assert diptych("curate", "plan.csv").err.startswith("diptych curate takes plan, apply")
    assert diptych("cache", "clear").err == "diptych cache has no 'clear': it has list, prune, move.\n"
