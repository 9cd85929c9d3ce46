"""The shell's view: start-up, exit codes, offline, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import __version__, catalog
from diptych.cli.main import _of_the_system
from diptych.core import UnreadableItem

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "open_clip", "transformers", "sklearn", "pyarrow", "matplotlib")


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "120", **environment}
    return subprocess.run(
        [sys.executable, "-m", "diptych.cli", *words],
        capture_output=True,
        text=True,
        env=given,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["systems"], ["classify", "--help"], ["board", "classify", "--help"], ["--version"]]
)
def test_help_and_systems_load_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import sys; from diptych.cli.main import main; sys.argv = ['diptych', *{words!r}]\n"
        "try: main()\nexcept SystemExit as e: assert not e.code, e.code\n"
        f"sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout


def test_missing_weights_offline_give_code_4(tmp_path: Path) -> None:
    done = shell(
        "classify", "demo:photos", "--backbone", "hf:openai/clip-vit-base-patch32", "--json",
        HF_HOME=str(tmp_path), HF_HUB_CACHE=str(tmp_path / "hub"), DIPTYCH_CACHE=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_wrong_path_gives_code_2_in_one_line(tmp_path: Path) -> None:
    done = shell("classify", "/no/such/place", "--names", "a", DIPTYCH_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert (
        done.stderr
        == "There is no file or folder /no/such/place: check the spelling, or try demo:photos or demo:clothes.\n"
    )


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = shell("--debug", "classify", "/no/such/place", "--names", "a", DIPTYCH_CACHE=str(tmp_path))
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_no_color_is_honoured(tmp_path: Path) -> None:
    assert "\x1b[" not in shell("systems", NO_COLOR="1", FORCE_COLOR="1").stdout.replace("\x1b[1m", "").replace(
        "\x1b[0m", ""
    )
    json.loads(shell("systems", "--json", FORCE_COLOR="1").stdout)


def test_a_closed_pipe_is_no_error() -> None:
    given = {**os.environ, "COLUMNS": "120"}
    words = [sys.executable, "-m", "diptych.cli", "systems", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=given)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)


def test_what_the_system_refuses_is_wrong_use(diptych: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused() -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "file" / "below").mkdir()

    monkeypatch.setattr("diptych.catalog.cards", refused)
    got = diptych("systems")
    assert got.code == 2
    assert got.err.startswith(f"{tmp_path / 'file' / 'below'}: Not a directory: give another path")


def test_a_file_name_that_is_no_utf_8_is_named(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.catalog.cards", lambda: "photos/caf\udce9.png".encode())
    got = diptych("systems")
    assert got.code == 1
    assert got.err.startswith("A file name or text is not UTF-8, at ...photos/caf\\udce9.png...: rename it")


def test_surprises_are_one_sentence_and_code_1(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise() -> None:
        raise RuntimeError("the moon is full")

    monkeypatch.setattr("diptych.catalog.cards", surprise)
    got = diptych("systems")
    assert got.code == 1
    assert (
        got.err == "This should not happen, please report it: RuntimeError: the moon is full (--debug shows where).\n"
    )


@pytest.mark.parametrize(("words", "said"), [((), "Interrupted."), (("Interrupted: 3 of 4.",), "Interrupted: 3 of 4.")])
def test_ctrl_c_gives_code_130(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt(*words)

    monkeypatch.setattr("diptych.catalog.cards", interrupt)
    got = diptych("systems")
    assert (got.code, got.err) == (130, f"{said}\n")


def test_ctrl_c_while_the_root_is_parsed_is_said_too(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperGroup.parse_args", interrupt)
    got = diptych("systems")
    assert (got.code, got.err) == (130, "Interrupted.\n")


def test_version_and_unknown_verbs(diptych: Cli) -> None:
    assert diptych("--version").out == f"diptych {__version__}\n"
    assert diptych("cook").code == 2
    assert "Usage" in diptych("--help").out
    assert diptych() == diptych("--help"), "a first look shows the commands"


def test_an_item_that_ends_the_verb_was_not_skipped(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise UnreadableItem("a.png", "truncated")

    monkeypatch.setattr("diptych.catalog.cards", broken)
    assert diptych("systems").code == 1


def test_systems_come_from_the_cards(diptych: Cli) -> None:
    got = diptych("systems", "--json")
    assert [c["slug"] for c in got.data] == [c["slug"] for c in catalog.cards()]
    for slug in ("gda", "tip-adapter-f"):
        assert slug in diptych("systems", "--verb", "classify").out
        card = next(c for c in catalog.cards() if c["slug"] == slug)
        assert card["title"] in diptych("systems", slug).out
    assert diptych("systems", "gda", "--json").data["year"] == 2024
    got = diptych("systems", "gpa")
    assert got.code == 2
    assert "gda" in got.err
    assert diptych("systems", "--verb", "cook").code == 2


def test_a_folder_that_may_not_be_read_is_named_and_not_what_is_looked_for_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = str(tmp_path / "hidden")
    error = PermissionError(errno.EACCES, "Permission denied", f"{hidden}/inside/light_curves.csv")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(hidden))  # root may read every folder
    assert _of_the_system(error) == f"{hidden}: Permission denied: change its permissions, or give another path."
    full = OSError(errno.ENOSPC, "No space left on device")
    assert _of_the_system(full).endswith("run the same again, with --overwrite where files of it exist.")
    there = FileExistsError(errno.EEXIST, "File exists", "out")
    assert _of_the_system(there) == (
        "out: File exists: give another path, or remove what stands in the way (--debug shows where)."
    )
