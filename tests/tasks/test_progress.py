"""Progress on stderr: a line within the first second, a bar on a terminal, nothing for what ends soon."""

from __future__ import annotations

import io
import sys
import time

import pytest

from diptych.core.run import silent
from diptych.tasks.progress import Display, progress_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lasting_work_is_spoken_of_soon_with_its_rate_and_then_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(patience=0.05).bar("encode image on cpu, torch fp32", 5000) as bar:
        bar.advance(32)
        bar._timer.join()
        bar.advance(32)
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
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


def test_calls_in_python_show_bars_in_terminals_alone_and_can_be_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIPTYCH_PROGRESS", raising=False)
    assert progress_of(None) is silent
    assert progress_of(True) is not silent
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress_of(None) is not silent
    assert progress_of(False) is silent
    monkeypatch.setenv("DIPTYCH_PROGRESS", "0")
    assert progress_of(None) is silent
