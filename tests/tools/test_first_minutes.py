"""The timed first minutes: what is counted, and that the page has every step as it is typed today."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from diptych.cli.main import app
from tools.first_minutes import END, PAGE, START, STEPS, Step, put, ran, section


def test_a_step_counts_the_processor_seconds_of_its_processes(tmp_path: Path) -> None:
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint('done')"
    step = ran(shlex.join([sys.executable, "-c", busy]), tmp_path, os.environ)
    assert step.output == "done"
    assert 0.3 <= step.processor < 30
    assert ran(shlex.join([sys.executable, "-c", "import time; time.sleep(1)"]), tmp_path, os.environ).wall >= 1


def test_progress_and_the_folder_are_left_out_of_the_output(tmp_path: Path) -> None:
    lines = [
        "encode: 0 of 1,000",
        "encode text, fp32: 64 of 84, 127/s",
        "7 images in 0.3 s",
        f"{tmp_path}/a.jpg: 3 of 4 right",
    ]
    step = ran(
        shlex.join([sys.executable, "-c", "import sys; print(*sys.argv[1:], sep=chr(10))", *lines]),
        tmp_path,
        os.environ,
    )
    assert step.output == "7 images in 0.3 s\na.jpg: 3 of 4 right"


def test_a_step_that_fails_shows_its_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        ran(shlex.join([sys.executable, "-c", "import sys; sys.exit('no wheel')"]), tmp_path, os.environ)
    assert "no wheel" in capsys.readouterr().err


def test_the_section_has_a_row_and_the_output_of_each_step() -> None:
    text = section([Step("a", "", 1.0, 0.5, 0.1), Step("b c", "cat 99%", 2.0, 3.25, 0.2)], "Today.", 2.5e9)
    assert text.startswith("Today. The environment takes 2.5 GB.\n")
    assert "| `b c` | 2.0 | 3.2 |\n| all | 3.0 | 3.8 |\n" in text
    assert text.endswith("```console\n$ a\n$ b c\ncat 99%\n```\n")
    assert put(f"x\n{START}old{END}\ny", text) == f"x\n{START}\n{text}\n{END}\ny"
    with pytest.raises(ValueError, match="the page has no"):
        put("x", text)


def test_the_page_has_the_steps_as_they_are_typed_today() -> None:
    text = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    assert tuple(re.findall(r"^\$ (.+)$", text, flags=re.MULTILINE)) == STEPS
    assert tuple(re.findall(r"^\| `(.+?)` \|", text, flags=re.MULTILINE)) == STEPS
    root = get_command(app)
    for step in STEPS:
        words = shlex.split(step)
        if words[0].endswith("diptych"):
            root.commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]
