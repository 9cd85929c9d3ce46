"""Rows of boards are kept as they are finished: a board of any verb that was killed goes on from them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import Run
from diptych.evaluation.arms import Arm, Measured
from diptych.evaluation.boards.rows import Rows
from diptych.evaluation.boards.verb import verb_board
from diptych.evaluation.kept import Unwritten
from tests.cli.conftest import diptych  # noqa: F401
from tests.evaluation.boards.test_verb import NEAR, OWN, PLAIN, SMALL, Known, captioned, place  # noqa: F401
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.dense_colours import DenseColours, masked_folder
from tests.support.scratches import scratched_folder

Cli = Callable[..., Any]

CLOCKS = ("seconds", "fit_seconds", "images_a_second", "train_seconds")


class Killed(BaseException):
    """Ends a board where it stands, as a signal does: nothing but finally sees it."""


def captions(folder: Path) -> list[str]:
    rows = [
        [coloured(folder / f"{i}.png", list(COLOURS)[i % 5], i).name, f"a {list(COLOURS)[i % 5]} thing"]
        for i in range(20)
    ]
    (folder / "names.txt").write_text("\n".join([*COLOURS, "thing"]))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "caption_0"], *rows])
    return ["captions.csv", "--metadata", "names.txt"]


def clips(folder: Path) -> list[str]:
    for split in ("train", "test"):
        for colour in ("red", "green"):
            for frame in range(4):
                coloured(folder / "clips" / split / colour / f"{split}{frame // 2}" / f"{frame % 2}.png", colour, frame)
    return ["clips", "--frames", "2"]


def records(folder: Path) -> list[str]:
    rows = [
        [coloured(folder / f"{colour}{i}.png", colour, i, noise=5.0).name, f"{colour} thing {i}", colour]
        for colour in COLOURS
        for i in range(3)
    ]
    with (folder / "records.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "text", "entity"], *rows])
    return ["records.csv"]


def plates(folder: Path) -> list[str]:
    return [str(scratched_folder(folder / "plate", train=24, good=3, bad=3)), "--methods", "gaussian"]


def masks(folder: Path) -> list[str]:
    masked_folder(folder / "set")
    return [str(folder / "set"), "--methods", "maskclip"]


def trained(folder: Path) -> list[str]:
    return ["--epochs", "2", "--train-batch", "20", "--methods", "full,geodesic-mixup"]


VERBS: dict[str, Callable[[Path], list[str]]] = {
    "curate": captions,
    "detect": plates,
    "extend": clips,
    "retrieve": records,
    "segment": masks,
    "finetune": trained,
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_board_of_any_verb_goes_on_from_its_finished_rows(
    diptych: Cli,  # noqa: F811
    tmp_path: Path,
    place: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    words = ["board", verb, *VERBS[verb](tmp_path), "--seeds", "1,2", "--json", "--out", "o"]
    backbone = DenseColours if verb in ("detect", "segment") else ColourBackbone
    if verb == "finetune":
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        words[2:2] = [str(place / "data"), "-b", f"local:{place / 'clip'}", "--cache", str(tmp_path / "cache")]
    else:
        monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: backbone(name=name))
    asked: list[str] = []
    last = 0
    measured = Rows._measured

    def counted(self: Rows, arm: Arm) -> Any:
        if last and len(asked) == last:
            raise Killed
        asked.append(arm.label)
        return measured(self, arm)

    monkeypatch.setattr(Rows, "_measured", counted)
    whole = diptych(*("whole" if word == "o" else word for word in words))
    assert whole.code == 0, whole.err
    order, last = list(asked), max(1, len(whole.data["rows"]) - 1)
    asked.clear()
    with pytest.raises(Killed):
        diptych(*words)
    first = list(asked)
    assert not Path("o/board.json").exists()
    asked.clear()
    last = 0
    resumed = diptych(*words)
    assert resumed.code == 0, resumed.err
    finished = [row["method"] for row in whole.data["rows"]]
    assert first == order[: len(first)]
    assert not [arm for arm in asked if arm in first and arm.partition(":")[0] in finished]

    def numbers(answer: Any) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k not in CLOCKS} for row in answer.data["rows"]]

    assert numbers(resumed) == numbers(whole)


def test_a_board_that_was_killed_goes_on(diptych: Cli, captioned: Path) -> None:  # noqa: F811
    words = ["board", "caption", str(captioned), "--methods", "maccap:small", "--seeds", "1", "--out", "o"]
    dead = subprocess.run(
        [sys.executable, "-m", "tests.support.work.board", "1", *words],
        check=False,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[3]}/src:{Path(__file__).parents[3]}"},
    )
    assert dead.returncode == -signal.SIGKILL
    assert not Path("o/board.json").exists()
    (kept,) = Path("o/rows").glob("nearest-caption-*.json")
    before = kept.stat().st_mtime_ns
    answer = diptych(*words, "--json")
    assert [row["method"] for row in answer.data["rows"]][-1:] == ["nearest-caption"] or answer.data["missing"]
    assert (kept.stat().st_mtime_ns, len(list(Path("o/rows").glob("nearest-caption-*.json")))) == (before, 1)


def test_a_row_is_read_where_nothing_has_changed(tmp_path: Path) -> None:
    values = {NEAR: np.array([[1.0, 0.0], [0.0, np.nan]])}
    first = Rows(Known(values), tmp_path).measure(NEAR)
    same = Known(values)
    read = Rows(same, tmp_path).measure(NEAR)
    assert same.asked == []
    np.testing.assert_array_equal(read.result.values, first.result.values)
    assert (read.result.others, read.result.seeds, read.seconds) == ({"more": 2.0}, (1,), first.seconds)
    for change in ({"seeds": (1,)}, {"run": Run(seed=3)}, {"values": {NEAR: [[1.0]]}}):
        other = Known(values)
        vars(other).update(change)
        Rows(other, tmp_path).measure(NEAR)
        assert other.asked == [NEAR], change
    for path in (tmp_path / "rows").glob("*.npz"):
        path.write_bytes(b"half")
    again = Known(values)
    assert Rows(again, tmp_path).measure(NEAR).result.seeds == (1,)
    assert again.asked == [NEAR]


def test_parts_that_are_counted_are_read_as_such(tmp_path: Path) -> None:
    class Parted(Known):
        def measure(self, arm: Arm) -> Measured:
            parts = {
                "boxes": Measured(np.ones((2, 3, 2)), {}, (1, 2), counted=True),
                "hits": Measured(np.ones((2, 3)), {}, (1, 2)),
                "ranked": Measured(np.ones((2, 3, 2)), {}, (1, 2)),
            }
            return replace(super().measure(arm), parts=parts)

    for _ in range(2):  # measured, then read
        found = Rows(Parted({NEAR: PLAIN}), tmp_path).measure(NEAR).result.parts
        assert {name: part.counted for name, part in found.items()} == {"boxes": True, "hits": False}
        assert found["boxes"].values.shape == (2, 3, 2)


def test_a_row_that_cannot_be_kept_stops_the_board(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("a file")
    with pytest.raises(Unwritten):
        verb_board("caption", Known({NEAR: PLAIN, SMALL: OWN}), [SMALL], keep=tmp_path)
