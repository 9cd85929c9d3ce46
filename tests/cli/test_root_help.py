"""The root help: every command in one line, and two calls in each command's own help."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from diptych.cli.added_commands import PROOFS
from diptych.cli.commands import VERBS, Commands
from diptych.cli.root_help import GROUPS, LONGEST, lines

Cli = Callable[..., Any]


def test_the_root_help_has_every_command_once_and_fits_a_screen(diptych: Cli) -> None:
    lines = diptych("--help").out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 84
    named = [name for commands in GROUPS.values() for name in commands]
    assert sorted(named) == sorted(VERBS)
    for name in named:
        assert sum(f" {name} " in line[:24] for line in lines) == 1, name
    assert all(len(text) <= LONGEST for commands in GROUPS.values() for text in commands.values())


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_command_opens_with_two_examples(diptych: Cli, verb: str) -> None:
    text = diptych(verb, "--help").out
    assert text.partition("Options")[0].count(f"$ diptych {verb}") >= 2, text[:600]


LEAVES = [(group, leaf) for group in ("models", "cache") for leaf in Commands(VERBS)[group].commands]


@pytest.mark.parametrize(("group", "leaf"), LEAVES)
def test_the_help_of_a_command_in_a_group_opens_with_two_examples_that_it_takes(
    diptych: Cli, group: str, leaf: str
) -> None:
    text = diptych(group, leaf, "--help").out
    command = Commands(VERBS)[group].commands[leaf]
    examples = re.findall(r"\$ diptych (.+?) *$", text.partition("Options")[0], flags=re.MULTILINE)
    assert len(examples) == 2, text[:600]
    for example in examples:
        first, second, *words = shlex.split(example)
        assert (first, second) == (group, leaf)
        command.make_context(leaf, words)


def test_the_commands_of_a_checkout_have_whole_sentences(diptych: Cli) -> None:
    shown = {words[0]: line for line in diptych("--help").out.splitlines() if (words := line[9:].split())}
    for name in PROOFS:
        assert shown[name].endswith("."), shown[name]
        assert not shown[name].endswith("..."), shown[name]


def test_commands_of_other_packages_come_last_and_end_after_a_whole_word() -> None:
    text = list(lines("About.", "Usage", {"greet": "Greet by name. " * 9}, "--help.", "Exit codes."))
    at = next(i for i, line in enumerate(text) if line.startswith(" more "))
    assert text[at].split()[:2] == ["more", "greet"]
    assert text[at].endswith(" Greet by ...")
    assert len(text[at]) <= 80
    assert text[at + 1] == ""
