from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.backbones.engines.engine import Engines
from diptych.cli import options
from diptych.cli.commands import VERBS, Commands, StepCommands
from diptych.cli.declared import flag_of
from diptych.core import Run, Texts
from diptych.features.embed import embed
from diptych.verbs.audit.steps import AUDIT
from diptych.verbs.board.steps import BOARD
from diptych.verbs.curate.steps import CURATE
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


@pytest.mark.parametrize(
    "words",
    [
        ("index", "demo:photos", "--out", "photo-index"),
        ("encode", "demo:photos", "--out", "vectors"),
        ("search", "photo-index", "red"),
    ],
    ids=lambda words: words[0],
)
def test_few_items_wait_for_no_times_of_runtimes(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "search":
        assert diptych("index", "demo:photos", "--out", "photo-index").code == 0
    few: list[bool] = []
    init = Engines.__init__
    monkeypatch.setattr(Engines, "__init__", lambda *given: few.append(given[-1]) or init(*given))
    for most in (64, 0):
        monkeypatch.setattr(options, "FEW", most)
        few.clear()
        assert diptych(*words, "--overwrite").code == 0
        assert {*few} == {most > 0}


@pytest.mark.parametrize("verb", [v for g in (BOARD, AUDIT, CURATE) for v in g.steps.values()], ids=lambda v: v.name)
def test_the_help_of_a_step_opens_with_two_examples_that_it_takes(verb: Any) -> None:
    assert len(verb.examples) >= 2
    step = verb.name.rpartition(" ")[2]
    takes = {opt for p in Commands(VERBS)[verb.name.split()[0]].commands[step].params for opt in p.opts}
    for line in verb.examples:
        assert line.startswith(f"{verb.name} ") or line == verb.name
        flags = {word for word in shlex.split(line) if word.startswith("--")}
        assert flags <= takes, line


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ((), "nothing is saved; the same command begins again"),
        (("red", "blue"), "2 vectors are in the cache; the same command begins again with them"),
    ],
)
def test_ctrl_c_says_what_is_saved(
    diptych: Cli, colours: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...], said: str
) -> None:
    def interrupted(table: object, names: object, models: Any, run: Run, **more: object) -> None:
        if texts:
            embed(models[0].text, Texts(texts), run)
        raise KeyboardInterrupt

    monkeypatch.setattr("diptych.tasks.audit.groups.audit_groups", interrupted)
    got = diptych("audit", "groups", colours, "--out", "groups.json")
    assert (got.code, got.err.splitlines()[-1]) == (130, f"Interrupted: {said}.")


@pytest.mark.parametrize(
    ("line", "interrupted", "said"),
    [
        ("export lite", "diptych.verbs.export.Export.check", "nothing is saved; the same command begins again"),
        ("board segment x", "diptych.verbs.declare.Verb.check", "1 row is in o; the same command uses them"),
        (
            "segment x --names cat",
            "diptych.verbs.segment.Segment.check",
            "what was finished is in o/unfinished; the same command goes on from there",
        ),
        ("demo", "diptych.cli.options.Opened.backbone", "1 row is in o; the same command uses them"),
    ],
)
def test_ctrl_c_before_the_work_says_what_an_earlier_run_left(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, interrupted: str, said: str
) -> None:
    def stop(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "o" / "rows").mkdir(parents=True)
    (tmp_path / "o" / "rows" / "x.json").write_text("{}")
    (tmp_path / "o" / "unfinished").mkdir()
    monkeypatch.setattr(interrupted, stop)
    got = diptych(*line.split(), "--out", "o")
    assert (got.code, got.err.splitlines()[-1]) == (130, f"Interrupted: {said}.")


def test_a_step_is_made_when_it_is_looked_up() -> None:
    steps = StepCommands("board", BOARD.steps)
    assert set(steps) == set(BOARD.steps)
    assert steps["segment"].name == "segment"
    assert [name for name, made in steps.data.items() if not isinstance(made, type)] == ["segment"]
