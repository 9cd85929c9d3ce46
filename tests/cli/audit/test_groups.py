from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.methods.audit.test_concept_association_bias import OBJECTS, TYPICAL, Bag, fruit
from tests.support.colours import COLOURS, coloured

Cli = Callable[..., Any]


def test_a_table_of_fruit(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: Bag(1.0))
    rows, items = ["path,class,color"], fruit(24).items
    for i in range(24):
        items[i].save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{OBJECTS[i % 3]},{TYPICAL[OBJECTS[i % 3]]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    got = diptych("audit", "association", tmp_path, "--attribute", "color", "--out", "a.json")
    assert got.code == 0
    assert got.out.startswith("CAB score 1.00. Beside another object it names the right value in 0 %")
    assert Path("a.json").is_file()
    got = diptych("audit", "association", tmp_path, "--attribute", "size")
    assert got.code != 0
    assert "size" in got.err


def test_sources_in_terminal_and_json(diptych: Cli, tmp_path: Path) -> None:
    rows, rng = ["path,class,light"], np.random.default_rng(0)
    for i in range(96):
        name, light = list(COLOURS)[i % 3], "dim" if i // 3 % 2 else "bright"
        shown = list(COLOURS)[int(rng.integers(3))] if light == "dim" and i % 4 == 0 else name
        coloured(tmp_path / "set" / f"{i}.png", shown, i, noise=60.0)
        rows.append(f"{i}.png,{name},{light}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows))
    got = diptych("audit", "sources", tmp_path / "set", "--group", "light", "--out", "s.json")
    assert got.code == 0
    assert "on dim" in got.out + got.err
    found = json.loads(Path("s.json").read_text())["findings"]
    assert {f["subject"] for f in found} == {"source=bright", "source=dim", "source=bright+dim"}
    got = diptych("audit", "sources", tmp_path / "set", "--group", "light", "--source", "bright", "--source", "night")
    assert got.code == 2
    assert "choose from bright, dim" in got.err
