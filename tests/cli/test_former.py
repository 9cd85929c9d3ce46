"""Former names of flags work for one version, and say what they are called now."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from diptych.cli.former import FORMER
from diptych.cli.main import app

RENAMED = {
    "finetune": {"--accumulate", "--also", "--clip", "--decay", "--recompute"},
    "classify": {"--reasons", "--sets"},
    "detect": {"--rate"},
    "caption": {"--rate"},
    "board detect": {"--rate"},
    "board finetune": {"--also"},
    "audit pairs": {"--rate"},
}


def leaf(path: str) -> Any:
    command: Any = get_command(app)
    for step in path.split():
        command = command.commands[step]
    return command


@pytest.mark.parametrize("path", RENAMED)
def test_a_command_has_the_new_name_alone(path: str) -> None:
    flags = {name for flag in leaf(path).params for name in flag.opts}
    for old in RENAMED[path]:
        assert FORMER[old] in flags
        assert old not in flags


def test_every_former_name_is_of_some_command() -> None:
    assert set.union(*RENAMED.values()) == set(FORMER)


@pytest.mark.parametrize(
    ("path", "words", "parameter", "value"),
    [
        ("classify", ["p", "--sets", "0.9"], "sets", 0.9),
        ("classify", ["p", "--reasons=3"], "reasons", 3),
        ("detect", ["p", "--rate", "0.1"], "rate", 0.1),
        ("board finetune", ["p", "--also", "others"], "also", "others"),
        ("audit pairs", ["p.csv", "--rate", "0.2"], "rate", 0.2),
    ],
)
def test_the_value_of_a_former_name_counts(
    path: str, words: list[str], parameter: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaf(path).make_context(path, list(words)).params[parameter] == value
    old = words[1].partition("=")[0]
    assert capsys.readouterr().err == f"{old} is now {FORMER[old]}: the old name works in this version alone.\n"


def test_a_flag_of_the_same_name_that_means_another_thing_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert leaf("serve").make_context("serve", ["--also", "tiny"]).params["more"] == ["tiny"]
    assert capsys.readouterr().err == ""


def test_former_names_of_flags_work_with_a_remark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = leaf("finetune")
    monkeypatch.setenv("DIPTYCH_CLIP", "0.5")
    words = ["photos", "--decay=0.3", "--recompute", "--accumulate", "4"]
    params = command.make_context("finetune", words).params
    assert (params["decay"], params["recompute"], params["accumulate"], params["clip"]) == (0.3, True, 4, 0.5)
    remarks = capsys.readouterr().err.splitlines()
    assert remarks[0] == "--decay is now --weight-decay: the old name works in this version alone."
    assert remarks[-1] == "DIPTYCH_CLIP is now DIPTYCH_GRAD_CLIP_NORM: the old name works in this version alone."
    assert len(remarks) == 4
