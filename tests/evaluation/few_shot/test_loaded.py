"""Classifiers of folders on a board: measured as they are, in the order of the data's classes, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.data.files import read_json
from diptych.data.load import open_data
from diptych.evaluation.few_shot.loaded import read, stated
from diptych.evaluation.few_shot.work import jobs_of
from diptych.features import artefacts, portable
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.segment.maskclip import MaskCLIP
from proofs.rerun import rerun
from tests.support.colours import COLOURS, ColourBackbone, colour_folder

PARTS = {"train": 8, "test": 5}
WORDS: dict[str, Any] = {"shots": 2, "seeds": 1}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.chdir(tmp_path)
    return colour_folder(tmp_path / "set", PARTS)


def without(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("metrics", "ci95", "gain", "p")}


def test_an_exported_classifier_has_the_numbers_of_the_row_that_it_was(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diptych.board(photos, methods="zero-shot,gda", export="gda", out="first", **WORDS)
    fits: list[str] = []
    fit = GDA.fit
    monkeypatch.setattr(GDA, "fit", lambda self, *given: fits.append("") or fit(self, *given))
    alone = diptych.board(photos, fitted="first/model", out="alone", **WORDS)
    assert {(row.method, bool(row.fitted)) for row in alone} == {("zero-shot", False), ("gda", True)}
    assert fits == []
    (row,) = (row for row in alone.data["rows"] if "fitted" in row)
    assert row["label"] == "GDA, loaded from first/model"
    assert row["fitted"]["sha256"] == portable.checksum(Path("first/model"))
    assert row["fitted"]["system"] == repr(GDA())
    assert (row["shots"], row["seconds"]["fit"], row["held"]) == (0, 0.0, {})
    assert alone.data["choice"]["method"] == "zero-shot", "what may have seen the other photos is not recommended"
    assert alone.columns["fitted"] == ["", "", "first/model"]
    both = diptych.board(photos, methods="zero-shot,gda", fitted=["first/model"], **WORDS).data["rows"]
    loaded, fresh = (next(r for r in both if r["method"] == "gda" and ("fitted" in r) == wanted) for wanted in (1, 0))
    assert without(loaded) == without(fresh)
    assert fits == [""]


def test_rows_of_folders_are_kept_and_repeated(photos: Path) -> None:
    diptych.systems.GDA(alpha=1.0).fit(None, photos / "train").save("kept")
    first = diptych.board(photos, fitted="kept", out="board", **WORDS)
    (path,) = Path("board/rows").glob("gda-loaded-*.json")
    written = path.stat().st_mtime_ns
    again = diptych.board(photos, fitted="kept", out="board", **WORDS)
    assert path.stat().st_mtime_ns == written
    assert again.data["rows"] == first.data["rows"]
    for file in (path, Path("board/board.json")):
        assert not rerun(read_json(file), ColourBackbone(), Run()).differing
    diptych.board(photos, methods="zero-shot", out="board", **WORDS)
    plain = diptych.board(photos, methods="zero-shot", out="board", **WORDS)
    assert not any("fitted" in row for row in plain.data["rows"])
    diptych.board(photos, fitted="kept", out="board", **WORDS)
    assert not Path("board/board.key").exists(), "it would answer for a board without the folder"
    for part in Path("kept").iterdir():
        part.unlink()
    Path("kept").rmdir()
    diptych.systems.GDA(alpha=2.0).fit(None, photos / "train").save("kept")
    with pytest.raises(DataError, match="kept does not hold what was measured"):
        rerun(read_json(Path("board/board.json")), ColourBackbone(), Run())


def test_classes_in_another_order_and_other_classes(photos: Path) -> None:
    backbone, data = ColourBackbone(), open_data(photos, need="classes")
    names = ClassNames(tuple(reversed(data.classes)))
    artefacts.save(
        GDA(alpha=1.0).fit(Kit.of(backbone), names, _reversed(data), Run()), Path("other-way"), GDA(alpha=1.0)
    )
    loaded = read(Path("other-way"), stated(Path("other-way")), backbone, "set", ClassNames(tuple(data.classes)))
    straight = GDA(alpha=1.0).fit(Kit.of(backbone), ClassNames(tuple(data.classes)), Evidence(data["train"]), Run())
    test = data["test"]
    scores = loaded.fitted.scores(test.items, Run()).values
    assert scores.allclose(straight.scores(test.items, Run()).values, atol=1e-4)
    assert loaded.fitted.classes.names == tuple(data.classes)
    few = ClassNames((*data.classes[1:], "teal"))
    with pytest.raises(
        UsageError, match=f"other classes than those of set: it lacks teal and it has {data.classes[0]}, "
    ):
        read(Path("other-way"), stated(Path("other-way")), backbone, "set", few)


def _reversed(data: Any) -> Evidence[Any]:
    from diptych.core import Column, Table

    train = data["train"]
    labels = len(data.classes) - 1 - train.labels()
    return Evidence(Table(train.items, {"label": Column("label", labels)}))


def test_what_does_not_fit_is_refused_before_any_row_is_run(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, run = ColourBackbone(), Run()
    system = diptych.systems.GDA(alpha=1.0)
    system.fit(None, photos / "train").save("kept")
    system.fit("tiny", photos / "train").save("other")
    maps = MaskCLIP()
    names = ClassNames(tuple(COLOURS))
    monkeypatch.setattr("diptych.evaluation.few_shot.rows.Desk.row", lambda *given: pytest.fail("a row was run"))
    with pytest.raises(UsageError, match="There is no folder nothing"):
        diptych.board(photos, fitted="nothing")
    with pytest.raises(UsageError, match="kept is given twice: name each fitted= once"):
        diptych.board(photos, fitted=["kept", "kept"])
    with pytest.raises(UsageError, match="so settings= has no effect"):
        diptych.board(photos, fitted="kept", settings={"gda": {"alpha": 2.0}})
    with pytest.raises(UsageError, match=r"unlabelled= and fitted= belong to one data set"):
        diptych.board([photos, photos], fitted="kept")
    with pytest.raises(UsageError, match="several backbones, kept on lite, other on tiny"):
        diptych.board(photos, fitted=["kept", "other"])
    renamed = ["teal" if name == "red" else name for name in sorted(COLOURS)]
    with pytest.raises(UsageError, match="other classes than those of set: it lacks teal and it has red"):
        diptych.board(photos, fitted="kept", names=renamed)
    with pytest.raises(UsageError, match="'gda' is not on this board"):
        diptych.board(photos, fitted="kept", export="gda", out="o")
    about = json.loads(Path("kept/model.json").read_text())
    Path("kept/model.json").write_text(json.dumps(about | {"system": None}))
    with pytest.raises(UsageError, match="kept does not say by which system and settings it was fitted"):
        diptych.board(photos, fitted="kept")
    Path("kept/model.json").write_text(json.dumps({n: v for n, v in about.items() if n != "system"}))
    assert stated(Path("kept")).system == GDA()
    Path("kept/model.json").write_text(json.dumps(about | {"system": None, "method": "none-such"}))
    assert stated(Path("kept")).system is None
    artefacts.save(ZeroShot().fit(Kit.of(backbone), names, Evidence(), run), Path("words"), maps)
    with pytest.raises(UsageError, match="words holds what maskclip fitted, a system of segment"):
        diptych.board(photos, fitted="words")


def test_a_folder_without_a_classifier_is_refused(photos: Path) -> None:
    backbone = ColourBackbone()
    artefacts.save(ClassNames(("a", "b")), Path("names"), GDA())
    with pytest.raises(DataError, match="names holds a ClassNames and no classifier"):
        read(Path("names"), stated(Path("names")), backbone, "set", ClassNames(("a", "b")))
    with pytest.raises(DataError, match="holds no fitted system"):
        stated(photos)


def test_what_is_loaded_comes_after_zero_shot(photos: Path) -> None:
    from diptych.evaluation.few_shot.plan import Plan

    diptych.systems.GDA(alpha=1.0).fit(None, photos / "train").save("kept")
    data = open_data(photos, need="classes")
    loaded = read(Path("kept"), stated(Path("kept")), ColourBackbone(), "set", ClassNames(tuple(data.classes)))
    jobs, _ = jobs_of(Plan(("zero-shot", "gda"), (1,), (1,)), data, [loaded])
    assert [(job.method.card.slug, job.folder) for job in jobs] == [
        ("zero-shot", ""), ("zero-shot", ""), ("gda", "kept"), ("gda", "")
    ]  # fmt: skip
    assert not jobs[2].draws
