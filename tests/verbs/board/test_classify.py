from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych import catalog
from diptych.catalog import set_rows
from diptych.core import DataError, UnreadableItem, UsageError
from diptych.verbs.board.classify import BoardClassify
from tests.support.colours import COLOURS, colour_folder

PARTS = {"train": 4, "test": 3}


def test_several_data_sets_are_compared_and_each_has_a_folder(tmp_path: Path) -> None:
    sets = [colour_folder(tmp_path / name, PARTS) for name in ("near", "far")]
    board = diptych.board(sets, methods="zero-shot,gda", shots=1, seeds=[1], out="b")
    assert [path.name for path in sorted(Path("b").iterdir())] == ["comparison.html", "comparison.json", "far", "near"]
    assert len(board.data["boards"]) == 2
    assert set(board.columns["data"]) == {"near", "far"}
    assert json.loads(Path("b/far/board.json").read_text())["rows"] == board.data["boards"][1]["rows"]
    reason = r"Nothing could be measured on near, far: .* evidence.texts is missing"
    with (
        pytest.warns(UserWarning, match="Fewer than two systems stand on all"),
        pytest.raises(DataError, match=reason),
    ):
        diptych.board(sets, methods="fudd", shots=1, seeds=1)
    with pytest.raises(UsageError, match="data= names no data set"):
        diptych.board([])
    with pytest.raises(UsageError, match="names=, texts=, unlabelled= and fitted= belong to one data set"):
        diptych.board(sets, names=["a", "b"])


def test_settings_timeout_and_texts_of_a_row(tmp_path: Path) -> None:
    data = colour_folder(tmp_path / "set", PARTS)
    words = {"methods": "gda,description", "shots": 2, "seeds": 1, "timeout": 60.0}
    board = diptych.board(
        data, settings={"gda": {"alpha": 0.5}}, texts={name: [f"{name} paint"] for name in COLOURS}, **words
    )
    assert "[alpha=0.5]" in {row.variant for row in board}
    assert "description" in {row.method for row in board}
    assert board.data["texts"]["source"] == "given"
    assert board.data["timeout"] == 60


def test_photos_without_labels_are_answered_with_what_a_board_measures() -> None:
    with pytest.raises(DataError, match="and demo:photos has no classes: give class folders"):
        diptych.board.classify("demo:photos")


def test_photos_beside_labels_are_one_data_set() -> None:
    photos = [Image.fromarray(np.full((8, 8, 3), 30 * i, dtype=np.uint8)) for i in range(4)]
    board = diptych.board((photos, ["red", "blue"] * 2), methods="zero-shot", shots=1, seeds=1)
    assert board.data["items"] == 4


def test_settings_of_python_are_read_back_from_their_text() -> None:
    given = {"tip-adapter": {"search": (5.0, 2.0)}, "gda": {"alpha": None}}
    verb = BoardClassify.parsed("python", data="d", settings=given)
    assert verb.plan().settings == ("tip-adapter.search=5.0,2.0", "gda.alpha=none")
    row = set_rows({"gda": {"alpha": None}}, "gda", "")
    assert row == "[alpha=none]"
    assert catalog.row(catalog.find("gda"), row).alpha is None


def test_the_plan_of_a_command() -> None:
    verb = BoardClassify.parsed(
        "command", data=["d"], shots="1,2", seeds="3", settings=["gda.alpha=0.5"], methods="gda"
    )
    plan = verb.plan()
    assert (plan.methods, plan.shots, plan.seeds, plan.settings) == (("gda",), (1, 2), (3,), ("gda.alpha=0.5",))
    with pytest.raises(UsageError, match="'most' is no rule for val"):
        BoardClassify.parsed("python", data="d", val="most").plan()


def test_skipped_photos_are_named(tmp_path: Path) -> None:
    data = colour_folder(tmp_path / "set", PARTS)
    (data / "test" / "red" / "0.png").write_bytes(b"no picture")
    board = diptych.board(data, methods="zero-shot", shots=1, seeds=1)
    assert len(board.failed) == 1
    assert isinstance(board.failed[0], UnreadableItem)
    assert board.failed[0].name.endswith("0.png")


def test_nothing_is_chosen_without_val() -> None:
    with pytest.raises(UsageError, match="chosen on val: name a system for export, or leave val out"):
        BoardClassify(data=["x"], val="none", export="best").check()
    BoardClassify(data=["x"], val="none", export="gda").check()
