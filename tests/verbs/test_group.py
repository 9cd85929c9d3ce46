from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typer import Typer
from typer.testing import CliRunner

from diptych.api.declared import group as function
from diptych.cli.declared import command
from diptych.cli.declared import group as group_command
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument
from diptych.verbs.context import Context
from diptych.verbs.declare import Verb
from diptych.verbs.group import Group


class Said(Answer[str]):
    """One text."""

    def name(self, item: str) -> str:
        return ""

    def line(self, item: str) -> str:
        return item

    def row(self, item: str) -> dict[str, Any]:
        return {"text": item}


@dataclass(frozen=True, kw_only=True)
class Shout(Verb):
    """Write in capitals."""

    name: ClassVar[str] = "talk shout"
    offers: ClassVar[tuple[str, ...]] = ("json",)
    takes_model: ClassVar[bool] = False
    text: str = argument("What to write.", positional=True)
    end: str = argument("What stands at the end.")

    def run(self, context: Context) -> Said:
        return Said(iter([self.text.upper() + self.end]))


@dataclass(frozen=True, kw_only=True)
class Whisper(Shout):
    """Write in small letters."""

    name: ClassVar[str] = "talk whisper"

    def run(self, context: Context) -> Said:
        return Said(iter([self.text.lower() + self.end]))


TALK = Group("talk", "Write texts.", (Shout, Whisper))


def talk_command() -> Typer:
    """Return the command with its steps, which the root makes when they are called."""
    app = group_command(TALK)
    for name, verb in TALK.steps.items():
        app.command(name)(command(verb))
    return app


def test_steps_are_commands_and_functions() -> None:
    for step, text in (("shout", "HI!"), ("whisper", "hi!")):
        done = CliRunner().invoke(talk_command(), [step, "Hi", "--end", "!"])
        assert (done.exit_code, done.stdout.strip()) == (0, text)
    talk: Any = function(TALK, {})
    assert talk("Hi", end="!").items == ("HI!",)
    assert talk.whisper("Hi", end="!").items == ("hi!",)
    assert (talk.__name__, talk.whisper.__qualname__) == ("talk", "talk.whisper")


def test_what_has_no_default_and_no_position_is_a_flag_that_must_be_given() -> None:
    done = CliRunner().invoke(talk_command(), ["shout", "Hi"])
    assert (done.exit_code, "--end" in done.output) == (2, True)
