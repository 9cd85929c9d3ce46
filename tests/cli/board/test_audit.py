from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.core import NotAvailable
from tests.support.colours import COLOURS, ColourBackbone, coloured

Cli = Callable[..., Any]
ONLY = ("--only", "holistic-robustness,counteranimal", "--against", "tiny", "--out", "b")


class Sharp(ColourBackbone):
    """The same colours, with logits that are five times as large."""

    def scale(self, a: str = "image", b: str = "text") -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(50.0), torch.tensor(0.0)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def load(name: str = "lite", **more: Any) -> ColourBackbone:
        if name == "local:gone":
            raise NotAvailable("There is no model gone.")
        return (Sharp if name == "tiny" else ColourBackbone)(name=name)

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    for k, name in enumerate(list(COLOURS)[:3]):
        for i in range(16):
            coloured(tmp_path / "own" / "test" / name / f"{i}.png", name, 100 * k + i, noise=30.0)
    return tmp_path / "own"


def test_a_board_compares_all_findings_with_the_first_backbone(diptych: Cli, own: Path, tmp_path: Path) -> None:
    got = diptych("board", "audit", own, *ONLY, "--json")
    assert got.code == 0
    first, second = got.data["rows"]
    assert (first["backbone"], second["backbone"], got.data["base"]) == ("lite", "tiny", "lite")
    assert all(f["gain"] is None for f in first["findings"])
    gains = {(f["measure"], f["about"]): f["gain"] for f in second["findings"] if f["testable"]}
    accuracy = gains["accuracy", ""]
    assert (accuracy["value"], accuracy["paired"]) == (0.0, True), "same answers"
    assert accuracy["ci95"][0] == -accuracy["ci95"][1] < 0
    assert gains["calibration_error", "own"]["paired"] is False
    assert gains["temperature_gain", "own"]["paired"] is True
    assert "counteranimal" in first["not_run"]
    assert got.data["complete"]
    lines = list(csv.DictReader((tmp_path / "b" / "board.csv").read_text().splitlines()))
    assert {line["backbone"] for line in lines} == {"lite", "tiny"}
    assert len(lines) == len(first["findings"]) + len(second["findings"])
    assert diptych("board", "audit", own, *ONLY).code == 2, "a whole board is not written over"


def test_a_board_prints_a_line_a_finding_and_goes_on_from_its_rows(
    diptych: Cli, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = diptych("board", "audit", own, *ONLY, "--against", "local:gone", "--overwrite")
    assert got.code == 0
    assert "accuracy" in got.out
    assert "local:gone did not run: There is no model gone." in got.err
    assert "counteranimal was not run" in got.err
    rows = sorted((tmp_path / "b" / "rows").glob("*.json"))
    assert len(rows) == 2
    before = json.loads((tmp_path / "b" / "board.json").read_text())
    (tmp_path / "b" / "board.json").write_text(json.dumps({**before, "complete": False}))
    monkeypatch.setattr("diptych.evaluation.boards.audit.AuditBench.measure", None)  # nothing may be measured again
    again = diptych("board", "audit", own, *ONLY, "--json")
    assert again.code == 0
    assert again.data["rows"] == before["rows"]


def test_a_board_needs_another_backbone_and_known_audits(diptych: Cli, own: Path) -> None:
    assert "--against" in diptych("board", "audit", own).err
    assert "audits no models" in diptych("board", "audit", own, "--against", "tiny", "--only", "gda").err
    same = diptych("board", "audit", own, "--against", "tiny", "--against", " lite", "--out", "same")
    assert (same.code, "--against  lite is the backbone that the others are compared with" in same.err) == (2, True)
    unknown = diptych("board", "audit", own, "--against", "tiny", "--against", "vit-b-322", "--out", "same")
    assert (unknown.code, "vit-b-322" in unknown.err) == (2, True)
    assert not Path("same").exists(), "a wrong name is seen before the first audit"


def test_what_nothing_can_be_tested_on_is_no_success(diptych: Cli, own: Path) -> None:
    got = diptych("board", "audit", own, "--only", "counteranimal", "--against", "tiny", "--out", "b")
    assert (got.code, got.out) == (1, "")
    assert "Nothing could be tested on" in got.err
    assert "group" in got.err
