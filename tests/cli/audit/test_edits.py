from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.backbone import SmallBackbone
from tests.support.colours import coloured
from tests.support.image_files import truncated

Cli = Callable[..., Any]


def test_edits_are_ranked_and_bad_tables_get_a_sentence(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: SmallBackbone())
    for name in ("red", "blue", "green"):
        coloured(tmp_path / f"{name}.png", name, 1)
    head = "source,edit,target,source_attributes,target_attributes"
    table = tmp_path / "edits.csv"
    table.write_text(f"{head}\nred.png,blue.png,a blue wall,red,blue\nred.png,green.png,a blue wall,red,blue\n")
    got = diptych("audit", "edits", table, "--out", "e.json")
    assert got.code == 0
    assert got.out.splitlines()[0] == "red.png: a blue wall"
    assert "to source" in got.out
    assert [e["rank"] for e in json.loads(Path("e.json").read_text())["edits"]] == [1, 2]
    truncated(tmp_path / "green.png")
    got = diptych("audit", "edits", table, "--json")
    assert (got.code, len(got.data["edits"])) == (3, 1)
    table.write_text("source,edit\nred.png,blue.png\n")
    got = diptych("audit", "edits", table)
    assert got.code not in (0, 3)
    assert "no column 'target'" in got.err
