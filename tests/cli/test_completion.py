"""Completion: words of the help, nothing heavy, and no remark in the line that is typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.cli.commands import VERBS
from diptych.cli.completion import commands

LISTING = """
import sys
from diptych.cli.main import app
try:
    app(prog_name="diptych")
finally:
    heavy = {"torch", "open_clip", "transformers"} | {f"diptych.cli.%s" % n for n in ("serve", "export", "demo")}
    sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""


def complete(line: str) -> list[str]:
    """Return what bash would offer for the last word of a line; stderr must be empty."""
    words = line.split(" ")
    typing = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_DIPTYCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, timeout=60, env={**os.environ, **typing}
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_are_offered_without_importing_them() -> None:
    assert set(VERBS) <= set(complete("diptych "))
    assert complete("diptych cl") == ["classify"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("diptych classify --ba", ["--backbone", "--batch"]),
        ("diptych board cl", ["classify"]),
        ("diptych board clasify cl", ["classify"]),  # a wrong step is no traceback
        ("diptych nope cl", ["classify"]),
        ("diptych pretrain --recompute --acc", ["--accum-freq"]),  # a former flag is no remark
    ],
)
def test_flags_and_steps_are_offered(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("diptych segment photos --method macl", []),
        ("diptych prove fud", ["fudd"]),
        ("diptych segment photos --method mask", ["maskclip"]),
        ("diptych segment photos -m mask", ["maskclip"]),
        ("diptych pretrain pairs.csv --objective clo", ["cloc", "cloob"]),
        ("diptych board classify birds --methods zero-shot,gd", ["zero-shot,gda"]),
        ("diptych board detect bottle --methods patch", ["patch-memory"]),
        ("diptych systems maskc", ["maskclip"]),
    ],
)
def test_systems_of_the_verb_are_offered(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_commands_of_other_packages_are_offered() -> None:
    assert [(each.value, each.help) for each in commands("gr", {"greet": "Greet by name."})] == [
        ("greet", "Greet by name.")
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_it_is_installed_into_the_shell_that_runs_it(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program = bin_folder / "diptych"
    program.write_text(f"#!{sys.executable}\nfrom diptych.cli.main import main\nmain()\n")
    program.chmod(0o755)
    home = {**os.environ, "HOME": str(tmp_path), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "diptych --install-completion; true"], capture_output=True, text=True, env=home, timeout=60
    )
    assert "bash completion installed in" in done.stdout, done.stderr
    ask = "source ~/.bashrc; COMP_WORDS=(diptych gen); COMP_CWORD=1; _diptych_completion diptych; echo ${COMPREPLY[*]}"
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, env=home, timeout=60)
    assert (done.stdout, done.stderr) == ("generate\n", "")
