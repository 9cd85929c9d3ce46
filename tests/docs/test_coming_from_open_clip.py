"""Every flag of the table is one: theirs of open_clip's trainer, ours of ``diptych pretrain``."""

from __future__ import annotations

import re
from pathlib import Path

import open_clip_train
from typer.main import get_command

from diptych.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coming-from-open-clip.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| ?(.*?) ?\|$", PAGE, flags=re.MULTILINE)[1:]


def flags(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z0-9-]*", text))


def test_every_flag_of_open_clip_is_named_and_no_other() -> None:
    source = (Path(open_clip_train.__file__).parent / "params.py").read_text(encoding="utf-8")
    theirs = set(re.findall(r"[\"'](--[a-z][a-z0-9-]*)[\"']", source))
    no_choice = PAGE.split("Always on:")[1]  # and what is left out, which follows
    assert flags(" ".join(row[0] for row in ROWS)) | flags(no_choice) == theirs


def test_our_flags_are_those_of_pretrain() -> None:
    command = get_command(app).commands["pretrain"]  # type: ignore[attr-defined]
    ours = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    beside = PAGE.split("Beside them")[1].split("Always on:")[0]
    assert len(ROWS) > 25
    assert flags(" ".join(row[1] for row in ROWS)) | flags(beside) <= ours
