"""The key of a board follows all that decides it, and a board that is not whole has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core import ClassNames, Text, TextPool
from diptych.data.load import open_data
from diptych.data.words.pools import Pool
from diptych.evaluation.few_shot import again
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from tests.support.colours import colour_folder


def test_the_key_follows_data_plan_names_texts_photos_and_options(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "colours", {"train": 2, "test": 2})

    def key(**changed: Any) -> str:
        data = open_data(folder, need="classes")
        given = {
            "data": data,
            "plan": Plan(("gda",), (1,), (1, 2)),
            "classes": ClassNames(data.classes),
            "texts": None,
            "unlabelled": None,
            "settings": {"device": "cpu"},
        }
        return again.key_of(**{**given, **changed})

    first = key()
    assert first == key()
    classes = ClassNames(open_data(folder).classes)
    keys = [
        first,
        key(plan=Plan(("gda",), (1,), (1, 3))),
        key(classes=replace(classes, templates=("a {}",))),
        key(texts=Pool("tests", TextPool({"red": (Text("a red thing"),)}))),
        key(unlabelled=Unlabelled.open(str(folder), None)),
        key(settings={"device": "cuda"}),
    ]
    (folder / "test" / "red" / "0.png").unlink()
    assert len({*keys, key()}) == 7


def test_only_a_whole_board_is_an_answer(tmp_path: Path) -> None:
    whole = {"complete": True, "missing": {}, "rows": [1]}
    (tmp_path / "board.json").write_text(json.dumps(whole))
    assert again.written(tmp_path, "k") is None
    again.keep(tmp_path, "k", whole)
    assert again.written(tmp_path, "k") == whole
    assert again.written(tmp_path, "another") is None
    again.keep(tmp_path, "k", {**whole, "missing": {"FuDD": "there are no texts"}})
    assert again.written(tmp_path, "k") is None
    again.keep(tmp_path, "k", whole)
    (tmp_path / "board.json").write_text("{")
    assert again.written(tmp_path, "k") is None
