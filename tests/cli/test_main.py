"""The shell's view: start-up, exit codes, offline, no traceback."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from diptych import __version__, catalog
from diptych.cli.main import _of_the_system, app
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
    import shlex

    found = lines_of(page)
    assert found or page.stem == "index"
    for line in found:
        words = shlex.split(re.split(r"\s[|>]\s", line)[0])[1:]
        path = next(p for p in sorted(commands(), key=len, reverse=True) if words[: len(p.split())] == p.split())
        command = commands()[path]
        command.make_context("diptych", words[len(path.split()) :], resilient_parsing=False)


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
