"""Words and flags of other tools are answered with ours, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.cli.added_commands import PROOFS
from diptych.cli.commands import VERBS
from diptych.cli.meant import ABSENT, ANSWERED, COMMANDS, FLAGS

Cli = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["Zero_Shot", "photos"], "There is no command 'Zero_Shot': use 'diptych classify'."),
        (["cluster", "photos"], "There is no command 'cluster': diptych does not group photos without names: 'diptych"),
        (["similarity"], "There is no command 'similarity': 'diptych search' ranks photos by their similarity to"),
        (["clasify"], "There is no command 'clasify': did you mean 'diptych classify'?"),
        (["wibble"], "There is no command 'wibble': 'diptych --help' lists them."),
        (["classify", "x", "--labels", "a"], "'diptych classify' has no --labels: did you mean --names?"),
        (["classify", "x", "--nam=a"], "'diptych classify' has no --nam: did you mean --names?"),
        (["classify", "--input", "x"], "'diptych classify' has no --input: type the photos without a flag, right"),
        (["search", "--image", "x"], "'diptych search' has no --image: type the index and query without a flag, right"),
        (["search", "i", "--text", "x"], "'diptych search' has no --text: type it as in 'diptych search photo-index"),
        (["classify", "x", "-q"], "'diptych classify' has no -q: progress goes to stderr, which '2>/dev/null' leaves"),
        (
            ["board", "classify", "--wibble"],
            "'diptych board classify' has no --wibble: type it as in 'diptych board classify",
        ),
        (["classify", "x", "--top", "two"], "'diptych classify --top': input should be a valid integer"),
        (["search", "/", "dog", "-k", "x"], "'diptych search --top': input should be a valid integer"),
        (["classify", "x", "--top"], "'diptych classify --top' needs a value behind it."),
        (["--foo"], "'diptych' has no --foo: flags of a command stand behind it, and 'diptych --help' lists commands."),
        (["--debug"], "Missing command: 'diptych --help' shows how it is called."),
        (["--vversion"], "'diptych' has no --vversion: did you mean --version?"),
        (["board", "--foo"], "'diptych board' has no --foo: flags of a command stand behind it, and 'diptych board"),
        (["--debug=1", "systems"], "Option '--debug' does not take a value: 'diptych --help' shows how it is called."),
        (["classify", "x", "--json=1"], "Option '--json' does not take a value: 'diptych classify --help' shows how"),
    ],
)
def test_the_command_or_flag_that_is_meant_is_named(diptych: Cli, words: list[str], sentence: str) -> None:
    answer = diptych(*words)
    assert answer.code == 2
    assert answer.err.startswith(sentence)
    assert len(answer.err.splitlines()) == 1


def test_a_path_or_a_system_in_the_place_of_a_command_is_recognised(diptych: Cli, tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    assert diptych("my photos").err == (
        "There is no command 'my photos': it is a path; say first what to do with it, such as "
        "'diptych classify 'my photos' --names \"cat, dog\"'.\n"
    )
    slug = catalog.slugs()[0]
    assert f"it is a system, and 'diptych systems {slug}' says which command runs it." in diptych(slug).err


def test_words_of_other_tools_lead_to_commands_and_are_none() -> None:
    assert {meant.split()[0] for meant in COMMANDS.values()} - {"--version", "--help"} <= set(VERBS)
    assert not {*COMMANDS, *ABSENT} & {*VERBS, *PROOFS}
    assert not set(COMMANDS) & set(ABSENT)
    assert not set(FLAGS) & set(ANSWERED)
