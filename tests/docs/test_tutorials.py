"""Every block of the tutorials runs as it stands and prints what the page says; what tables name exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from tests.support.tutorials import BLOCK, ran, same

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))
RUN = [page for page in PAGES if page.stem != "index"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # remarks of functions: a reader sees them on stderr
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_says(page: Path, tmp_path: Path, cache: Path) -> None:
    text = page.read_text(encoding="utf-8")
    now = ran(text, tmp_path.resolve(), cache)
    assert same(now, text), f"run python docs/transcripts.py --tutorials {page.stem}, and look at what changed:\n{now}"


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_no_block_goes_unread(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = [match[0] for match in BLOCK.finditer(text)]
    assert blocks
    assert text.count("```") == sum(block.count("```") for block in blocks)
    assert 60 <= len(text.splitlines()) <= 120


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_public_names_only(page: Path) -> None:
    code = "\n".join(match[2] for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if match[1] == "python")
    assert set(re.findall(r"(?:from|import) (diptych[\w.]*)", code)) <= {"diptych"}


def test_the_index_names_all() -> None:
    text = (PAGES[0].parent / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\S+)\.md\)", text)) == {page.stem for page in RUN}


def named(kind: str) -> list[str]:
    """Return code of the last column of the tables of "coming from" that begins with the given words."""
    text = (PAGES[0].parent / "coming-from.md").read_text(encoding="utf-8")
    cells = [line.strip("| ").split(" | ")[-1] for line in text.splitlines() if line.startswith("| ")]
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell) if code.startswith(kind)]


def options(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("line", named("diptych "))
def test_commands_of_the_tables_exist(line: str) -> None:
    from typer.main import get_command

    from diptych.cli.main import app

    words = shlex.split(line)[1:]
    found: Any = get_command(app)
    while words and hasattr(found, "get_command"):
        verb = words.pop(0)
        found = found.get_command(None, verb)
        assert found is not None, line
    assert {word for word in words if word.startswith("--")} <= options(found), line


@pytest.mark.parametrize("call", named("diptych."))
def test_calls_of_the_tables_exist(call: str) -> None:
    assert callable(resolve_name(call.split("(")[0]))
