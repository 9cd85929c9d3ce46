from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.cli.commands import Commands
from tests.support.colours import colour_folder

Cli = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colour_folder(tmp_path / "set", {"test": 24}, ("red", "blue"))


def test_every_audit_of_the_catalog_is_a_command() -> None:
    audits = {card["slug"] for card in catalog.cards() if card["verb"] == "audit"}
    assert set(catalog.AUDITS) == audits
    commands = Commands({"audit": "verbs.audit.steps:AUDIT"})["audit"].commands
    assert set(catalog.AUDITS.values()) <= set(commands)


def test_robustness_in_terminal_and_json(diptych: Cli, photos: Path) -> None:
    got = diptych("audit", "robustness", photos, "--factor", "darker", "--against", "other", "--out", "r.json")
    assert got.code == 0
    assert "drop, darker" in got.out
    report = json.loads(Path("r.json").read_text())
    assert report["audit"] == "holistic-robustness"
    assert {f["subject"] for f in report["findings"]} == {"lite", "other"}
    assert {f["about"] for f in report["findings"] if f["measure"] == "drop"} == {"darker"}


def test_shortcuts_in_terminal_and_json(diptych: Cli, photos: Path) -> None:
    words = ("audit", "shortcuts", photos, "--opacity", "1", "--draws", "2")
    got = diptych(*words)
    assert got.code == 0
    assert "square at 100 %" in got.out
    report = diptych(*words, "--json").data
    assert {f["measure"] for f in report["findings"]} == {"shortcut_bias"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("robustness", "--factor", "rain"), "There is no factor 'rain': choose from"),
        (("robustness", "--out", "r.html"), "--out writes"),
        (("shortcuts", "--share", "2"), "shortcut must be in (0, 1)"),
        (("shortcuts", "--opacity", "0"), "opacities must be in (0, 1]"),
    ],
)
def test_wrong_use_is_one_sentence(diptych: Cli, photos: Path, words: tuple[str, ...], message: str) -> None:
    got = diptych("audit", words[0], photos, *words[1:])
    assert got.code == 2
    assert message in got.err
    assert got.err.count("\n") == 1
