from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools import result_tables as tool

CELL = {"value": 0.5, "ci95": [0.4, 0.6]}
BOARD: dict[str, Any] = {
    "kind": "board",
    "verb": "segment",
    "dataset": "fields",
    "items": 24,
    "least_keys_of": 70,
    "split": "val",
    "classes": ["cow", "grass"],
    "backbone": "lite",
    "seeds": [1],
    "command": "diptych board segment fields --items 24",
    "missing": {"sam-clip": "needs a SAM"},
    "rows": [
        {
            "method": "trident",
            "variant": "scores",
            "miou": 0.25,
            "ci95": [0.2, 0.3],
            "gain": {"miou": 0.05, "ci95": [-0.01, 0.11]},
            "pixel_accuracy": 0.75,
            "fit_seconds": 1.5,
            "images_a_second": 0.5,
            "seconds": 49.6,
        },
        {"method": "chance", "variant": "", "miou": 0.05, "ci95": [0.05, 0.05], "gain": None, "pixel_accuracy": 0.5,
         "seconds": 0.1},
    ],
}  # fmt: skip


def test_a_board_becomes_a_table_with_gains_and_what_did_not_run() -> None:
    lines = list(tool.segmenters({"fields.json": BOARD}))
    assert lines[0].startswith("[fields](../../results/boards/fields.json): 24 of 70 photos of val, 2 classes")
    assert "| `trident:scores` | 25.0 [20.0, 30.0] | +5.0 [-1.0, +11.0] | 75.0 | 1.50 | 0.50 | 50 |" in lines
    assert "| `chance` | 5.0 [5.0, 5.0] |  | 50.0 |  |  | 0 |" in lines
    assert "| `sam-clip` | needs a SAM | | | | | |" in lines


def test_words_become_a_table() -> None:
    row = {"object": "fabric", "prompts": "pair", "image_auroc": {"all": CELL, "global": CELL}}
    found = {"command": "c", "normal": 25, "photos": {"all": 40, "global": 40}, "rows": [row]}
    assert list(tool.state_words(found))[-1] == "| fabric | one pair | 50.0 [40.0, 60.0] | 50.0 [40.0, 60.0] |"
    cell = {"value": 0.5, "low": 0.4, "high": 0.6}
    own = {f"recall_{n}": {**cell, "gain": cell} for n in (10, 50, 100)} | {"cpu_seconds_a_photo": 0.2}
    sets = {"fields": {"split": "val", "photos": 3, "regions": 9, "ranked-cells": own}}
    *_, line, _, commands = tool.proposers([{"command": "c 1", "sets": sets}, {"command": "c 2", "sets": {}}])
    assert commands.startswith("`c 1` and `c 2`;")
    assert line.startswith("| fields (val, 3 photos, 9 regions) | `ranked-cells` | 50.0 [40.0, 60.0] |")
    assert line.endswith("| +50.0 [+40.0, +60.0] | 0.20 |")


def test_only_what_stands_between_the_marks_changes() -> None:
    page = "before\n<!-- x -->\nold\n<!-- /x -->\nafter\n"
    assert tool.renewed(page, "x", iter(["new", ""])) == "before\n<!-- x -->\nnew\n<!-- /x -->\nafter\n"


def test_pages_are_what_results_say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert tool.main(["--check"]) == 0, capsys.readouterr().err
    monkeypatch.setattr(tool, "pages", lambda: {Path("page.md"): "other"})
    assert tool.main(["--check"]) == 1
    assert "tools/result_tables.py" in capsys.readouterr().err
