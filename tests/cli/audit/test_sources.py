from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.colours import COLOURS, coloured

Cli = Callable[..., Any]


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
    assert "choose of bright, dim" in got.err
