"""Commands from other packages: they run, and one that is broken takes down nothing."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.cli import added_commands
from diptych.cli.commands import VERBS
from diptych.cli.console import command_line

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]
GOOD = "def greet(name: str) -> None:\n    '''Greet by name.'''\n    print('hello', name)\n"


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process is said once a test."""
    added_commands.load_command.cache_clear()
    added_commands._say_once.cache_clear()


def install(folder: Path, name: str, points: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what an installation of a distribution with one module would, and put it on the path."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[diptych.commands]\n{points}\n")
    (folder / f"{name}_module.py").write_text(source)
    monkeypatch.delitem(sys.modules, f"{name}_module", raising=False)  # that of an earlier test
    monkeypatch.syspath_prepend(folder)


def test_a_command_of_another_package_is_listed_and_runs(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "greeter", "greet = greeter_module:greet", GOOD, monkeypatch)
    assert "Greet by name." in diptych("--help").out
    assert diptych("greet", "Ada").out == "hello Ada\n"


@pytest.mark.parametrize(
    ("points", "source", "reason"),
    [
        ("greet = broken_module:greet", "raise RuntimeError('too old')", "RuntimeError: too old"),
        ("greet = broken_module:other", GOOD, "AttributeError"),
        ("greet = no_such_module:greet", GOOD, "ModuleNotFoundError"),
        ("greet = broken_module:greet", "greet = 3", "TypeError"),
        ("no line of a table", GOOD, "TypeError"),
    ],
)
def test_a_broken_entry_point_is_named_once_and_nothing_else_fails(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, source: str, reason: str
) -> None:
    install(tmp_path / "a", "broken", points, source, monkeypatch)
    install(tmp_path / "b", "greeter", "welcome = greeter_module:greet", GOOD, monkeypatch)
    first, again = diptych("--help"), diptych("--help")
    assert (first.code, first.err.count("\n"), again.err) == (0, 1, "")
    assert all(word in first.err for word in ("broken", reason, "mend or uninstall that package"))
    assert all(f" {verb} " in first.out for verb in ("welcome", *VERBS))
    assert diptych("greet").code == 2
    assert diptych("welcome", "Ada").out == "hello Ada\n"


def test_a_verb_of_ours_is_not_replaced(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "greeter", "doctor = greeter_module:greet", GOOD, monkeypatch)
    assert "Greet" not in diptych("doctor", "--help").out


def test_of_two_installations_the_first_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "old", "greeter", "greet = old:greet", GOOD, monkeypatch)
    install(tmp_path / "new", "greeter", "greet = new:greet", GOOD, monkeypatch)
    assert added_commands.added_commands()["greet"].value == "new:greet"


def test_the_checkout_has_the_commands_of_proofs_from_any_folder(tmp_path: Path) -> None:
    """The package lies beside ``src``, which alone is on the path of an editable installation."""
    assert set(added_commands.PROOFS) <= set(added_commands.added_commands())
    done = subprocess.run(
        [sys.executable, "-m", "diptych.cli", "prove", "--help"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Run the proof of a system" in done.stdout


def test_python_m_proofs_is_diptych_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list[str]()
    monkeypatch.setattr("diptych.cli.main.main", lambda: lines.append(command_line()))
    monkeypatch.setattr(sys, "argv", ["python -m proofs", "gda", "--data", "demo:clothes"])
    runpy.run_module("proofs", run_name="__main__")
    assert lines == ["diptych prove gda --data demo:clothes"]


def test_without_proofs_their_commands_say_where_they_are(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(added_commands, "CHECKOUT", Path("/nowhere"))
    answer = diptych("prove", "gda")
    assert answer.code == 2
    assert answer.err.startswith("diptych prove belongs to the proofs, which are not installed with diptych: run it in")
    assert "Run the proof" not in diptych("--help").out


@pytest.mark.parametrize(
    "text", ["[project", "[project]\nname = 'x'", "[project.entry-points]\n'diptych.commands' = 3"]
)
def test_a_checkout_whose_table_cannot_be_read_loses_its_commands_alone(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "proofs").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'diptych'\n")
    (tmp_path / "proofs" / "pyproject.toml").write_text(text)
    monkeypatch.setattr(added_commands, "CHECKOUT", tmp_path)
    answer = diptych("--help")
    assert (answer.code, answer.err.count("\n")) == (0, 1)
    assert str(tmp_path / "proofs") in answer.err


def test_another_project_with_a_folder_of_proofs_is_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proofs").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'geometry'\n")
    points = "[project.entry-points.'diptych.commands']\nprove = 'proofs:prove'\n"
    (tmp_path / "proofs" / "pyproject.toml").write_text(points)
    monkeypatch.setattr(added_commands, "CHECKOUT", tmp_path)
    assert "prove" not in added_commands.added_commands()
