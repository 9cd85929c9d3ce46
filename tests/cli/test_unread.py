"""An option that the chosen system does not read is refused, and the systems that read it are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from diptych.cli import unread
from diptych.cli.main import VERBS, Commands
from diptych.methods.caption.nearest_caption import NearestCaption

Cli = Callable[..., Any]
COMMANDS = Commands(VERBS)
SOME = re.compile(r"\bfor (a |such a )?(method|system|detector|metaclip|clip-score|biomedica|pathgen)|detectors that")
"""What the help of an option says that not every system reads."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["pretrain", "T", "--rewrites", "x.json"],
            "clip-loss does not read --rewrites, but cloc, laclip and quality-captions do: leave it out, or choose one "
            "of these with --objective.",
        ),
        (["pretrain", "T", "-m", "laclip", "--regions", "b.csv"], "laclip does not read --regions, but cloc and grain"),
        (["pretrain", "T", "-m", "dc-clip", "--scorer", "tiny"], "but quality-captions does: leave it out, or choose"),
        (["segment", "P", "--train", "T"], "maskclip does not read --train, but fc-clip and maft-plus do"),
        (["segment", "P", "-m", "ovseg", "--masks", "hf:a/b"], "but sam-clip and trident do"),
        (["detect", "P", "--normal", "N", "--object", "nut", "-m", "gaussian"], "gaussian does not read --object"),
        (["detect", "P", "--normal", "N", "--auxiliary", "A"], "but anomalyclip does"),
        (["caption", "P", "--texts", "t.txt", "--user", "me"], "but user-aware-prefix does"),
        (["caption", "P", "--texts", "t.txt", "-m", "maccap", "--rate", "0.1"], "but nearest-caption does"),
        (["edit", "--source", "a", "--target", "b", "--denoiser", "small"], "but cut-and-paste does"),
        (["edit", "P", "--source", "a", "--target", "b", "--count", "3"], "--count has no effect"),
        (["generate", "a cat", "-m", "galip", "--steps", "3"], "galip does not read --steps: leave it out"),
        (["rewrite", "a cat", "--variant", "text", "--denoiser", "small"], "This row of uf-fgtg does not read"),
        (["link", "A", "B", "-m", "string-matching", "-b", "tiny"], "does not read --backbone, but clippings does"),
        (["curate", "plan", "t.txt", "--clusters", "3"], "metaclip does not read --clusters, but biomedica does"),
        (
            ["curate", "apply", "t.txt", "--share", "0.3"],
            "metaclip does not read --share, but clip-score and vector-head do",
        ),
    ],
)
def test_what_is_given_and_not_read_is_refused(diptych: Cli, words: list[str], said: str) -> None:
    answer = diptych(*words)
    assert answer.code == 2, answer.err
    assert said in answer.err


def test_clouds_and_curves_have_no_settings_of_clips(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("diptych.data.formats.cloud_folder.holds_clouds", lambda path: True)
    answer = diptych("extend", tmp_path, "--frames", "4", "--out", tmp_path / "new")
    assert (answer.code, "so --frames has no effect" in answer.err) == (2, True)


def test_the_environment_is_a_default_for_many_commands(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_TEACHER", "tiny")
    assert "does not read" not in diptych("segment", "none.png", "--names", "a").err
    assert "does not read --teacher" in diptych("segment", "none.png", "--names", "a", "--teacher", "tiny").err


def commands() -> Iterator[tuple[str, Any, Any]]:
    for verb, place in VERBS.items():
        module = import_module(f"diptych.cli.{place.partition(':')[0]}")
        command = COMMANDS[verb]
        for name, inner in (getattr(command, "commands", None) or {"": command}).items():
            yield f"{verb} {name}".strip(), inner, getattr(module, "READERS", {})


def test_tables_name_parameters_and_cover_what_the_help_restricts() -> None:
    known: dict[int, set[str]] = {}
    tables: dict[int, Any] = {}
    for name, command, readers in commands():
        held = {p.name for p in command.params}
        known.setdefault(id(readers), set()).update(held if readers else ())
        tables[id(readers)] = readers
        restricted = {p.name for p in command.params if SOME.search(getattr(p, "help", None) or "")}
        assert restricted <= set(readers) or name.split()[0] in ("board", "ablate"), name  # these run several systems
    for number, readers in tables.items():
        assert set(readers) <= known[number]


def test_nothing_is_refused_outside_a_command() -> None:
    unread.refuse_unread(NearestCaption(), {"user": unread.never})
    unread.refuse_idle("Nothing runs", "anything")
