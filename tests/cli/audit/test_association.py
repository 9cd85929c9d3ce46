from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.methods.audit.test_concept_association_bias import OBJECTS, TYPICAL, Bag, fruit

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
