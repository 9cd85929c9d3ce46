from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.support.dense_colours import DenseColours
from tests.support.scratches import scratched_folder


@pytest.fixture(autouse=True)
def with_maps(at_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DenseColours(name=name))


NUMBERS = ("image_auroc", "ci95", "false_alarms", "detected")


def test_python_measures_and_keeps_what_the_command_does(tmp_path: Path) -> None:
    plate = scratched_folder(tmp_path / "plate", train=36)
    words = {"methods": ["gaussian", "feature-memory", "anomalyclip"], "seeds": [1, 2]}
    with pytest.warns(UserWarning, match="anomalyclip did not run"):
        board = diptych.board.detect(plate, out="b", **words)
    rows = {row.label: row for row in board}
    assert rows.keys() >= {"gaussian", "feature-memory"}
    written = json.loads(Path("b/board.json").read_text())
    of_file = {row["method"]: row for row in written["rows"] if not row["variant"]}
    shown = {row["method"]: row for row in board.data["rows"] if not row["variant"]}
    assert all(of_file[slug][key] == shown[slug][key] for slug in of_file for key in NUMBERS if key in shown[slug])
    assert written["object"] == "plate"
    table = board.to_pandas()
    assert {"method", "image_auroc", "low", "high", "gain", "false_alarms"} <= set(table)
    assert list(table["image_auroc"]) == sorted(table["image_auroc"], reverse=True)
    with pytest.raises(UsageError, match=r"board\.json"):
        diptych.board.detect(plate, out="b", **words)
    again = diptych.board.detect(plate, out="b", methods="gaussian", seeds=1, overwrite=True)
    assert again.data["seeds"] == [1]


def test_a_threshold_and_settings_reach_the_systems(tmp_path: Path) -> None:
    plate = scratched_folder(tmp_path / "plate", train=36)
    board = diptych.board.detect(
        plate, methods="feature-memory", seeds=1, rate=0.25, settings={"feature-memory": {"side": 64}}
    )
    assert board.data["rate"] == 0.25
    assert {row.arm.variant for row in board if row.arm.system == "feature-memory"} == {"[side=64]"}
    with pytest.raises(UsageError, match=r"rate= must be in \(0, 1\), got 7"):
        diptych.board.detect("nowhere", rate=7)
    with pytest.raises(UsageError, match="no file or folder nowhere"):
        diptych.board.detect("nowhere")
