from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diptych.cli.declared import flag_of
from diptych.verbs.detect import Detect

Cli = Callable[..., Any]


def test_flags_follow_from_names_unless_they_are_given() -> None:
    assert flag_of(Detect, "thing") == "--object"
    assert flag_of(Detect, "photos") == "PHOTOS"
    assert flag_of(Detect, "min_scale") == "--min-scale"  # of another verb


def test_help_opens_with_two_examples_and_states_ranges(diptych: Cli) -> None:
    text = diptych("detect", "--help").out
    assert text.count("$ diptych detect ") == 2
    assert "photos; in (0, 1)" in " ".join(text.replace("│", " ").split())


def test_a_wrong_setting_is_named_with_the_flag(diptych: Cli) -> None:
    answer = diptych("detect", "demo:photos", "--normal", "demo:photos", "--set", "side")
    assert answer.code == 2
    assert "--set takes NAME=VALUE" in answer.err
