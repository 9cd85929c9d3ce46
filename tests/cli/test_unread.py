"""An option that the chosen system does not read is refused, and the systems that read it are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.cli import unread
from diptych.cli.commands import VERBS, Commands
from diptych.core import UsageError
from diptych.methods.caption.nearest_caption import NearestCaption
from diptych.verbs import reads

Cli = Callable[..., Any]
COMMANDS = Commands(VERBS)
SOME = re.compile(r"\bfor (a |such a )?(method|system|detector|metaclip|clip-score|biomedica|pathgen)|detectors that")
"""What the help of an option says that not every system reads."""


@pytest.mark.parametrize(
    ("words", "flag", "reader"),
    [
        (["pretrain", "T", "--rewrites", "x.json"], "--rewrites", "laclip"),
        (["pretrain", "T", "-m", "laclip", "--regions", "b.csv"], "--regions", "cloc"),
        (["pretrain", "T", "-m", "dc-clip", "--scorer", "tiny"], "--scorer", "quality-captions"),
        (["segment", "P", "--train", "T"], "--train", "fc-clip"),
        (["segment", "P", "-m", "ovseg", "--masks", "hf:a/b"], "--masks", "trident"),
        (["detect", "P", "--normal", "N", "--object", "nut", "-m", "gaussian"], "--object", "winclip-style"),
        (["detect", "P", "--normal", "N", "--auxiliary", "A"], "--auxiliary", "anomalyclip"),
        (["caption", "P", "--texts", "t.txt", "--user", "me"], "--user", "user-aware-prefix"),
        (
            ["caption", "P", "--texts", "t.txt", "-m", "maccap", "--false-alarm-rate", "0.1"],
            "--false-alarm-rate",
            "nearest-caption",
        ),
        (["edit", "--source", "a", "--target", "b", "--denoiser", "small"], "--denoiser", "cut-and-paste"),
        (["generate", "a cat", "-m", "galip", "--steps", "3"], "--steps: leave it out", ""),
        (["rewrite", "a cat", "--variant", "text", "--denoiser", "small"], "--denoiser", "another --variant"),
        (["link", "A", "B", "-m", "string-matching", "-b", "tiny"], "--backbone", "clippings"),
        (["curate", "plan", "t.txt", "--clusters", "3"], "--clusters", "biomedica"),
        (["curate", "apply", "t.txt", "--share", "0.3"], "--share", "clip-score"),
    ],
)
def test_what_is_given_and_not_read_is_refused(diptych: Cli, words: list[str], flag: str, reader: str) -> None:
    answer = diptych(*words)
    assert answer.code == 2, answer.err
    before, _, after = answer.err.partition(f" does not read {flag}")
    assert before
    assert reader in after


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["edit", "P", "--source", "a", "--target", "b", "--count", "3"], "--count"),
        (["detect", "P", "--normal", "N", "--object", "cat"], "--normal"),
        (["index", "--export", "a.parquet", "--prune"], "--prune"),
        (["encode", "demo:photos", "--cluster-threads", "2"], "--cluster-threads"),
        (["finetune", "T", "--steps", "3", "--epochs", "2"], "--epochs"),
        (["pretrain", "T", "--steps", "3", "--epochs", "2"], "--epochs"),
        (["pretrain", "t.csv", "--shuffle", "9"], "--shuffle"),
        (["pretrain", "t.csv", "--held-out", "9"], "--held-out"),
        (["curate", "apply", "t.txt", "-m", "clip-score", "--threshold", "0.2", "--share", "0.3"], "--share"),
        (["curate", "apply", "t.txt", "-m", "semdedup", "--bits", "4"], "--bits"),
        (["curate", "apply", "t.txt", "-m", "semdedup", "--rule", "hash", "--eps", "0.1"], "--eps"),
    ],
)
def test_what_other_options_make_idle_is_refused(diptych: Cli, words: list[str], flag: str) -> None:
    answer = diptych(*words)
    assert (answer.code, f"so {flag} has no effect" in answer.err) == (2, True), answer.err


def test_clouds_and_curves_have_no_settings_of_clips(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("diptych.data.formats.item_folders.holds_clouds", lambda path: True)
    answer = diptych("extend", tmp_path, "--frames", "4", "--out", tmp_path / "new")
    assert (answer.code, "clip2point does not read --frames: leave it out." in answer.err) == (2, True), answer.err


def test_the_environment_is_a_default_for_many_commands(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_TEACHER", "tiny")
    assert "does not read" not in diptych("segment", "none.png", "--names", "a").err
    assert "does not read --teacher" in diptych("segment", "none.png", "--names", "a", "--teacher", "tiny").err


def commands() -> Iterator[tuple[str, Any, Any]]:
    for verb, place in VERBS.items():
        place, _, attribute = place.partition(":")
        declared = place.startswith("verbs.")
        module = import_module(f"diptych.{place}" if declared else f"diptych.cli.{place}")
        readers = getattr(module, "READERS", {})
        command = COMMANDS[verb]
        for name, inner in (getattr(command, "commands", None) or {"": command}).items():
            if declared:
                thing = getattr(module, attribute)
                arguments = (thing.steps[name] if name else thing).arguments("command")
                readers = {n: a.reads for n, a in arguments.items() if a.reads}
            yield f"{verb} {name}".strip(), inner, readers


def test_tables_name_parameters_and_cover_what_the_help_restricts() -> None:
    known: dict[int, set[str]] = {}
    tables: dict[int, Any] = {}
    for name, command, readers in commands():
        held = {p.name for p in command.params}
        known.setdefault(id(readers), set()).update(held if readers else ())
        tables[id(readers)] = readers
        restricted = {p.name for p in command.params if SOME.search(getattr(p, "help", None) or "")}
        assert restricted <= set(readers) or name.split()[0] == "board", name  # these run several systems
    for number, readers in tables.items():
        assert set(readers) <= known[number]


def test_those_that_read_an_option_are_named_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    systems = [SimpleNamespace(card=SimpleNamespace(slug=slug, verb="edit"), reads=slug != "a") for slug in "abc"]
    monkeypatch.setattr(reads, "_systems", lambda verb: systems)
    readers = {"mask": lambda system: system.reads}
    token = unread.typed.set({"mask": "--mask"})
    try:
        unread.refuse_unread(systems[1], readers)
        with pytest.raises(UsageError, match=r"^a does not read mask, but b and c do: leave it out, or choose one of"):
            unread.refuse_unread(systems[0], readers)
        systems.pop()
        with pytest.raises(UsageError, match=r"but b does: leave it out, or choose b with --objective\.$"):
            unread.refuse_unread(systems[0], readers, "--objective")
    finally:
        unread.typed.reset(token)


def test_nothing_is_refused_outside_a_command() -> None:
    unread.refuse_unread(NearestCaption(), {"user": reads.never})
    unread.refuse_idle("Nothing runs", "anything")
