"""Results as files: CLIP_benchmark reads them, nothing is overwritten in silence."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.core import DataError, UsageError
from diptych.data.files import read_json, write_json, write_whole
from diptych.evaluation.few_shot.board import Board
from diptych.tasks.record import Record, model_names, versions, write_table
from tests.support.colours import ColourBackbone

RECORD = Record(
    dataset="pets", model="ViT-B-32", pretrained="openai", task="zeroshot_classification",
    metrics={"acc1": 0.5, "acc5": math.nan, "mean_per_class_recall": 0.4}, method="zero-shot",
    ci95={"acc1": (0.4, 0.6)}, seconds={"fit": 1.0}, classnames=("a", "b"), skipped=("x.jpg: empty",),
)  # fmt: skip


def main_build() -> Callable[[SimpleNamespace], None]:
    """Return the ``build`` of the installed CLIP_benchmark; importing its command line would load data set packages
    that we do not use.
    """
    package = importlib.util.find_spec("clip_benchmark")
    if package is None or package.origin is None:
        pytest.skip("needs clip-benchmark")
    tree = ast.parse(Path(package.origin).with_name("cli.py").read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main_build"]
    space: dict[str, Any] = {"os": os, "json": json, "csv": csv}
    exec(compile(tree, "clip_benchmark/cli.py", "exec"), space)
    found: Callable[[SimpleNamespace], None] = space["main_build"]
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # their build leaves its files open
def test_clip_benchmark_builds_a_table_from_our_rows(finished: tuple[Board, Path], tmp_path: Path) -> None:
    board, out = finished
    target = tmp_path / "built.csv"
    main_build()(SimpleNamespace(files=[str(out / "rows")], output=str(target)))
    with target.open() as file:
        built = list(csv.DictReader(file))
    assert len(built) == len(board.records)
    ours = {(r.method, r.variant, r.shots, r.seed): r for r in board.records}
    for row in built:
        record = ours[row["method"], row["variant"], int(row["shots"]), int(row["seed"])]
        assert float(row["acc1"]) == record.metrics["acc1"]
        assert float(row["mean_per_class_recall"]) == record.metrics["mean_per_class_recall"]
        assert (row["dataset"], row["language"], row["model_fullname"]) == (
            "colours",
            "en",
            f"{record.model} {record.pretrained}",
        )
    with (out / "board.csv").open() as file:
        written = list(csv.DictReader(file))
    theirs = {
        "acc1",
        "acc5",
        "mean_per_class_recall",
        "dataset",
        "model",
        "pretrained",
        "task",
        "model_fullname",
        "language",
    }
    assert theirs <= written[0].keys()
    assert {r["acc1"] for r in written} == {r["acc1"] for r in built}


def test_nan_becomes_null_and_the_record_comes_back() -> None:
    data = json.loads(json.dumps(RECORD.as_dict(), allow_nan=False))
    assert data["metrics"]["acc5"] is None
    again = Record.from_dict({**data, "unknown": 1})
    assert again.method == "zero-shot"
    assert again.metrics["acc1"] == 0.5
    assert again.as_dict() == RECORD.as_dict()


def test_files_that_are_no_result_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks dataset"):
        Record.from_dict({"metrics": {}})
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "b.json").write_text("{")
    for name, words in (("a.json", "no JSON object"), ("b.json", "cannot be read"), ("c.json", "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_json(tmp_path / name)


def test_nothing_is_overwritten_unasked_and_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "new" / "a.json", {"a": 1})
    with pytest.raises(UsageError, match="overwrite"):
        write_json(tmp_path / "new" / "a.json", {"a": 2})
    assert read_json(tmp_path / "new" / "a.json") == {"a": 1}
    write_json(tmp_path / "new" / "a.json", {"a": 2}, overwrite=True)
    assert read_json(tmp_path / "new" / "a.json") == {"a": 2}

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "new" / "b.json", b"x")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]


def test_csv_has_one_row_a_record_with_flat_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", [RECORD.row()])
    with (tmp_path / "a.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["acc1"], row["acc1_low"], row["acc1_high"], row["seconds_fit"]) == ("0.5", "0.4", "0.6", "1.0")
    assert (row["acc5"], row["skipped"], row["model_fullname"]) == ("", "1", "ViT-B-32 openai")
    assert "classnames" not in row


def test_models_are_named_as_clip_benchmark_names_them() -> None:
    from dataclasses import replace

    spec = ColourBackbone().spec
    published = replace(spec, name="openclip:ViT-B-32/laion2b_s34b_b79k", family="openclip")
    assert model_names(published) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert model_names(replace(spec, weights="0123456789abcdef")) == ("colours", "0123456789ab")


def test_versions_name_what_numbers_depend_on() -> None:
    assert {"python", "diptych", "torch", "numpy"} <= versions().keys()
