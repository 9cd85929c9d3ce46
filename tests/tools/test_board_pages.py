from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.board_pages import boards, link, marked, write_or_check


def test_boards_are_those_of_a_verb_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, data in {
        "b": {"kind": "board"}, "a": {"kind": "board", "verb": "classify"}, "c": {"kind": "board", "verb": "segment"},
        "d": {"kind": "proof"},
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    assert [name for name, _ in boards(tmp_path, "classify")] == ["a.json", "b.json"]
    assert [name for name, _ in boards(tmp_path, "segment")] == ["c.json"]


def test_numbers_are_marked_and_sets_are_linked() -> None:
    assert [marked("1.0", change) for change in (1, 0, -1)] == ["**1.0**", "1.0", "*1.0*"]
    assert link("a", "a.json") == "[a](../results/boards/a.json)"


def test_a_stale_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "docs" / "page.md"
    assert write_or_check({page: "x"}, ["--check"], "tool.py") == 1
    assert "page.md is not what results/boards says: run python tools/tool.py." in capsys.readouterr().err
    assert write_or_check({page: "x"}, [], "tool.py") == 0
    assert write_or_check({page: "x"}, ["--check"], "tool.py") == 0
