"""Rows of a board that were fitted before: a folder is measured as it is, or refused before any row is run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

from diptych.core import UsageError
from diptych.evaluation.boards.choice import backbone_of
from diptych.evaluation.boards.rows import Rows
from diptych.evaluation.boards.verb import VerbBoard
from diptych.features import portable
from diptych.features.artefacts import About
from diptych.methods.segment.fc_clip import FCCLIP
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from diptych.nn.dense.mask_queries import MaskLayout
from tests.cli.conftest import diptych  # noqa: F401
from tests.evaluation.boards.test_rows import captions, records
from tests.support.colours import ColourBackbone
from tests.support.dense_colours import DenseColours, masked_folder
from tests.support.scratches import scratched_folder

Cli = Callable[..., Any]
CLOCKS = ("seconds", "fit_seconds", "images_a_second")
COLUMNS = "red, green, blue, yellow"


@pytest.fixture
def dense(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:  # noqa: F811
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DenseColours(name=name))
    return diptych


def by_label(answer: Any) -> dict[str, dict[str, Any]]:
    assert answer.code == 0, answer.err
    rows = answer.data["rows"]
    return {row["fitted"]["folder"] if "fitted" in row else f"{row['method']}:{row['variant']}": row for row in rows}


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in (*CLOCKS, "fitted", "gain", "seeds", "variant")}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    short = {"side": 40, "crop": 40, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 2}
    monkeypatch.setattr(FCCLIP, "__init__", partialmethod(FCCLIP.__init__, **short))


def kept_masks(dense: Cli, tmp_path: Path) -> Path:
    photos = masked_folder(tmp_path / "set")
    (photos / "labels.csv").write_text(
        (photos / "labels.csv").read_text().replace("5-mask.png,val", "5-mask.png,train")
    )
    words = ("segment", photos / "0.png", "--names", COLUMNS, "-m", "fc-clip", "--train", photos, "-b", "tiny")
    got = dense(*words, "--fitted", "kept/fc", "--out", "maps")
    assert got.code == 0, got.err
    return photos


def test_a_segmenter_of_a_folder_has_the_numbers_of_the_one_that_was_fitted(
    dense: Cli, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = kept_masks(dense, tmp_path)  # by seed 0, as a verb without a seed has it
    fits: list[str] = []
    boards: list[VerbBoard] = []
    fit, write = FCCLIP.fit, VerbBoard.write
    monkeypatch.setattr(VerbBoard, "write", lambda self, *a, **b: boards.append(self) or write(self, *a, **b))
    monkeypatch.setattr(FCCLIP, "fit", lambda self, *given: fits.append("") or fit(self, *given))
    words = ("board", "segment", photos, "--seeds", "0", "--json")
    loaded = dense(*words, "--fitted", "kept/fc", "--out", "o")
    assert loaded.data["backbone"] == "tiny"  # that of the folder, since none is named
    rows = by_label(loaded)
    assert set(rows) == {"kept/fc", "maskclip:", "chance:"}  # and no other system is fitted
    assert fits == []
    row = rows["kept/fc"]
    assert row["method"] == "fc-clip"
    assert "fit_seconds" not in row
    assert row["fitted"]["sha256"] == portable.checksum(Path("kept/fc"))
    assert row["fitted"]["system"].startswith("FCCLIP(")
    with Path("o/board.csv").open(newline="") as file:
        assert {r["fitted"]: r["fit_seconds"] for r in csv.DictReader(file) if r["method"] == "fc-clip"} == {
            "kept/fc": ""
        }
    both = by_label(dense(*words, "--fitted", "kept/fc", "--methods", "fc-clip", "--out", "both", "-b", "tiny"))
    assert len(fits) == 1
    assert "fc-clip, loaded from kept/fc" in [row.label for row in boards[-1].rows]
    assert numbers(both["kept/fc"]) == numbers(both["fc-clip:"])
    assert both["kept/fc"]["gain"] == both["fc-clip:"]["gain"]


def test_what_does_not_fit_is_refused_before_any_row_is_run(
    dense: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = masked_folder(tmp_path / "set")
    names = ("--names", "red, green")
    assert dense("segment", photos / "0.png", *names, "-m", "maskclip", "--fitted", "two", "--out", "m").code == 0
    monkeypatch.setattr(Rows, "measure", lambda *given: pytest.fail("a row was run"))
    words = ("board", "segment", photos, "--fitted")
    classes = dense(*words, "two")
    assert classes.code == 2
    assert "maskclip was fitted on the names red, green, and answers for them alone" in classes.err
    absent = dense(*words, "nothing")
    assert (absent.code, "There is no folder nothing" in absent.err) == (2, True)
    twice = dense(*words, "two", "--fitted", "two")
    assert (twice.code, "two is given twice: name each --fitted once" in twice.err) == (2, True)
    idle = dense(*words, "two", "--set", "fc-clip.steps=3")
    assert (idle.code, "so --set has no effect" in idle.err) == (2, True)
    other = dense("board", "detect", scratched_folder(tmp_path / "plate"), "--fitted", "two")
    assert "two holds what maskclip fitted, a system of segment, and this is a board of detect" in other.err
    assert other.code == 2
    plain = json.loads(Path("two/fitted.json").read_text())
    for text, sentence in (("tiny", "was fitted on"), ("lite", "answers for them alone")):
        Path("two/fitted.json").write_text(json.dumps(plain))
        monkeypatch.setattr(
            "diptych.backbones.sources.load.load",
            lambda name="lite", other=text, **more: ColourBackbone(name=name) if other == "tiny" else DenseColours(),
        )
        wrong = dense(*words, "two", "-b", text)
        assert (wrong.code, sentence in wrong.err) == (2, True), wrong.err
    del plain["about"]
    Path("two/fitted.json").write_text(json.dumps(plain))
    silent = dense(*words, "two")
    assert (silent.code, "does not say by which system" in silent.err) == (2, True), silent.err


def test_folders_of_several_backbones_are_refused() -> None:
    folders, abouts = [Path("a"), Path("b"), Path("c")], [About("x", backbone=n) for n in ("tiny", "lite", "")]
    assert backbone_of(folders[1:], abouts[1:]) == "lite"
    assert backbone_of(folders[2:], abouts[2:]) is None
    with pytest.raises(UsageError, match="several backbones, a on tiny, b on lite: a board has one backbone"):
        backbone_of(folders, abouts)


def test_a_detector_of_a_folder_keeps_its_threshold(dense: Cli, tmp_path: Path) -> None:
    plate = scratched_folder(tmp_path / "plate", train=24, good=4, bad=4)
    words = ("detect", plate / "test", "--normal", plate / "train/good", "-m", "gaussian")
    assert dense(*words, "--false-alarm-rate", "0.1", "--fitted", "held", "--out", "a").code == 0
    assert dense(*words, "--fitted", "bare", "--out", "b").code == 0
    words = ("board", "detect", plate, "--seeds", "1", "--json")
    rows = by_label(dense(*words, "--fitted", "held", "--fitted", "bare", "--out", "o"))
    assert {"false_alarms", "detected"} <= rows["held"].keys()
    assert not {"false_alarms", "detected", "fit_seconds"} & rows["bare"].keys()
    assert rows["bare"]["image_auroc"] > 0.5
    anomalies = json.loads(Path("a/detect.json").read_text())
    flagged = [row["flagged"] for row in anomalies["photos"] if "/scratch/" in row["path"]]
    assert rows["held"]["detected"] == pytest.approx(sum(flagged) / len(flagged))
    thing = dense(
        "detect", plate / "test", "--object", "hazelnut", "--fitted", "words", "--out", "c", "-m", "winclip-style"
    )
    assert thing.code == 0, thing.err
    other = dense(*words, "--fitted", "words", "--out", "p")
    assert (other.code, "looks for damage of 'hazelnut', and the photos show 'plate'" in other.err) == (2, True)
    assert dense(*words, "--fitted", "words", "--object", "hazelnut", "--out", "q").code == 0


def test_captioners_and_retrievers_of_folders(diptych: Cli, tmp_path: Path) -> None:  # noqa: F811
    table, *_ = captions(tmp_path)
    with Path(table).open(newline="") as file:
        rows = list(csv.reader(file))
    for i, row in enumerate(rows):
        row.append("split" if i == 0 else "train" if i < 11 else "test")
    with Path(table).open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    Path("pool.txt").write_text("a red thing\na blue thing\na green thing")
    words = ("caption", table, "--texts", "pool.txt", "-m", "nearest-caption", "--fitted", "pool")
    assert diptych(*words, "--out", "a").code == 0
    got = by_label(diptych("board", "caption", table, "--seeds", "1", "--fitted", "pool", "--json", "--out", "o"))
    assert set(got) == {"pool", "nearest-caption:"}
    assert got["pool"]["cider_d"] <= got["nearest-caption:"]["cider_d"]
    (given,) = records(tmp_path)
    assert (
        diptych(
            "link", given, given, "-m", "clippings", "--variant", "mean", "--fitted", "linker", "--out", "l.csv"
        ).code
        == 0
    )
    linked = by_label(diptych("board", "retrieve", given, "--seeds", "1", "--fitted", "linker", "--json", "--out", "r"))
    assert set(linked) == {"linker", "clippings:mean", "chance:"}
    assert linked["linker"]["recall@1"] == linked["clippings:mean"]["recall@1"]
