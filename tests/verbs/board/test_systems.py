from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from diptych.evaluation.boards.retrieve import SLOW
from diptych.verbs.board.systems import BoardRetrieve
from tests.evaluation.boards.test_rows import captions, clips, records
from tests.support.backbone import SmallBackbone
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
    assert "photos of 'plate' to those that read words" in board.title
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


def test_python_measures_retrievers_on_records_of_entities(tmp_path: Path) -> None:
    records(tmp_path)
    board = diptych.board.retrieve(tmp_path / "records.csv", methods="string-matching", seeds=1, text="text")
    assert {row.arm.system for row in board} == {"clippings", "chance", "string-matching"}
    assert board.data["entities"] == 5
    with pytest.raises((DataError, UsageError), match="nothing"):
        diptych.board.retrieve(tmp_path / "records.csv", entity="nothing")


def test_retrievers_that_train_a_tower_run_where_they_are_named() -> None:
    assert tuple(BoardRetrieve(data="x").without()) == SLOW


def test_python_measures_captioners_with_a_loaded_judge(tmp_path: Path) -> None:
    captions(tmp_path)
    texts = ["a red thing", "a blue thing", "a green thing"]
    judge = SmallBackbone()
    board = diptych.board.caption("captions.csv", methods="nearest-caption", seeds=1, texts=texts, judge=judge)
    assert [row.label for row in board] == ["nearest-caption"]
    assert "clip_score" in board.columns
    assert board.data["sentences"] == len(texts)


def test_an_unknown_system_is_named_before_photos_are_opened() -> None:
    with pytest.raises(UsageError, match="gda"):
        diptych.board.caption("nowhere.csv", methods=["gda"])


def test_python_measures_curators_on_swapped_captions(tmp_path: Path) -> None:
    captions(tmp_path)
    board = diptych.board.curate("captions.csv", methods="clip-score", metadata="names.txt", seeds=[1], keep=0.4)
    rows = {row.label: row.value.value for row in board}
    assert rows["clip-score"] == max(rows.values())
    assert (board.data["metric"], board.data["seeds"]) == ("precision", [1])


def test_shares_out_of_range_are_refused(tmp_path: Path) -> None:
    captions(tmp_path)
    with pytest.raises(UsageError, match="keep"):
        diptych.board.curate("captions.csv", methods="clip-score", keep=1.5)


def test_python_measures_extenders_on_clips(tmp_path: Path) -> None:
    clips(tmp_path)
    board = diptych.board.extend(tmp_path / "clips", names="green, red", methods="frame-mean", seeds=1, frames=2)
    assert {row.label: row.value.value for row in board}["frame-mean"] == 1
    assert board.data["frames"] == 2


def test_names_and_frames_are_checked(tmp_path: Path) -> None:
    clips(tmp_path)
    with pytest.raises(UsageError, match="3 names for 2 classes"):
        diptych.board.extend("clips", names="red, green, blue")
    with pytest.raises(UsageError, match="frames= must be"):
        diptych.board.extend("clips", frames=0)
