"""The commands by their names: flags, help, the pages about them, and words that are wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from diptych.cli.commands import VERBS, Commands
from diptych.cli.main import app

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def test_a_command_is_made_when_it_is_looked_up() -> None:
    known = Commands(VERBS)
    assert known.data["classify"] == "verbs.classify:Classify"
    assert known["classify"].name == "classify"
    assert known.data["segment"] == "verbs.segment:Segment"
    assert "cook" not in known
    with pytest.raises(KeyError):
        known["cook"]


@cache
def commands() -> dict[str, Any]:
    """Return path -> command, for all leaves."""
    found, stack = {}, [("", get_command(app))]
    while stack:
        path, command = stack.pop()
        inner = getattr(command, "commands", None)
        if inner is None:
            found[path.strip()] = command
        else:
            stack += [(f"{path} {name}", sub) for name, sub in inner.items()]
    return found


def test_several_values_of_a_flag_that_takes_one_are_refused(diptych: Cli) -> None:
    got = diptych("systems", "--verb", "classify", "--verb=segment")
    sentence = "--verb takes one value, not 'classify' and 'segment': type it once, a list with commas.\n"
    assert (got.code, got.err) == (2, sentence)
    assert diptych("systems", "--verb", "segment", "--verb", "segment", "--json").err == ""
    got = diptych("classify", "demo:photos", "--names", "cat", "--names", "dog")
    assert (got.code, got.err.startswith("--names takes one value, not 'cat' and 'dog': ")) == (2, True)


def test_every_flag_has_its_environment_name_and_a_help_text() -> None:
    for path, command in commands().items():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                flag = next(o for o in parameter.opts if o.startswith("--"))
                variable = "DIPTYCH_" + flag[2:].replace("-", "_").upper()
                assert parameter.envvar == (None if variable == "DIPTYCH_DATA" else variable), (path, flag)
                assert parameter.help, (path, flag)
        assert command.help, path


PAGES = sorted((ROOT / "docs" / "cli").glob("*.md"))


def lines_of(page: Path) -> list[str]:
    """Return the commands of a page's transcripts."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ diptych ")]


def test_help_breaks_lines_where_the_terminal_does() -> None:
    for path, command in commands().items():
        assert not re.search(r"[^\n]\n[^\n]", command.help), path


def test_there_is_a_page_a_verb() -> None:
    assert {p.stem for p in PAGES} == {path.split()[0] for path in commands()} | {"photo-index"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["find", "a dog"], "There is no command 'find': use 'diptych search'."),
        (["train", "photos"], "There is no command 'train': use 'diptych finetune'."),
        (["search", "a dog"], "'diptych search' needs index and query, such as 'diptych search photo-index"),
        (["new-system"], "'diptych new-system' needs slug, such as 'diptych new-system my-probe --verb classify'."),
        (["serve", "photos"], "'diptych serve' has no place for 'photos': type it as in 'diptych serve --index"),
        (["board", "classify"], "'diptych board classify' needs data, such as 'diptych board classify"),
    ],
)
def test_words_that_are_missing_or_too_many_are_answered_with_what_to_type(
    diptych: Cli, words: list[str], sentence: str
) -> None:
    answer = diptych(*words)
    assert answer.code == 2
    assert sentence in answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_of_the_pages_parse(page: Path) -> None:
    found = lines_of(page)
    assert found or page.stem == "index"
    for line in found:
        words = shlex.split(re.split(r"\s[|>]\s", line)[0])[1:]
        path = next(p for p in sorted(commands(), key=len, reverse=True) if words[: len(p.split())] == p.split())
        command = commands()[path]
        command.make_context("diptych", words[len(path.split()) :], resilient_parsing=False)
