from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from diptych.core import ClassNames, Column, DataError, Run, Table
from diptych.data.folders import ImageFiles
from diptych.data.load import open_data
from diptych.evaluation.several import several_labels
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.colours import COLOURS, ColourBackbone, colour_folder


def table(folder: Path, per_class: int = 8) -> Table[object]:
    data = open_data(colour_folder(folder, {"": per_class}))
    test = data.splits["test"]
    return Table(test.items, {"labels": Column("multilabel", np.eye(5, dtype=bool)[test.labels()])})


def test_thresholds_say_how_many_classes_there_are(tmp_path: Path) -> None:
    classes = ClassNames(tuple(sorted(COLOURS)))
    result = several_labels(table(tmp_path), classes, ZeroShot(), ColourBackbone(), Run())
    assert (result.chosen_on, result.items) == (20, 20)
    assert result.micro.low <= result.micro.value <= result.micro.high
    assert result.micro.value > 0.5
    assert result.average_precision > 0.6
    assert len(result.thresholds) == 5
    assert result.as_dict()["f1_micro"]["value"] == result.micro.value


def test_thresholds_never_see_the_measured_half(tmp_path: Path) -> None:
    """Other labels on the measured half change the numbers, never the thresholds."""
    classes = ClassNames(tuple(sorted(COLOURS)))
    honest = table(tmp_path)
    run = Run()
    test = np.random.default_rng(run.integer("halves")).permutation(40)[20:]
    targets = np.array(honest.columns["labels"].values)
    targets[test] = ~targets[test]
    spoiled = Table(honest.items, {"labels": Column("multilabel", targets)})
    a, b = (several_labels(t, classes, ZeroShot(), ColourBackbone(), run) for t in (honest, spoiled))
    assert a.thresholds == b.thresholds
    assert b.micro.value < a.micro.value


def test_bad_input(tmp_path: Path) -> None:
    photos = table(tmp_path)
    with pytest.raises(DataError, match="no column of several labels"):
        several_labels(Table(photos.items), ClassNames(("red",)), ZeroShot(), ColourBackbone(), Run())
    with pytest.raises(DataError, match="1 names"):
        several_labels(photos, ClassNames(("red",)), ZeroShot(), ColourBackbone(), Run())
    with pytest.raises(DataError, match="too few"):
        several_labels(photos.take([0, 1]), ClassNames(tuple(sorted(COLOURS))), ZeroShot(), ColourBackbone(), Run())


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from diptych.cli.main import app

    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names = sorted(COLOURS)
    colour_folder(tmp_path / "d", {"": 6}, names)
    rows = [f"d/{name}/{i}.png,{name};{names[i % 5]}" for name in names for i in range(6)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,labels", *rows]))

    def run(*words: str) -> tuple[int, str, str]:
        got = CliRunner().invoke(app, ["board", "several-labels", *words])
        return got.exit_code, got.stdout, got.stderr

    code, out, err = run("photos.csv")
    assert code == 0, err
    assert "measured on 15 others, 5 classes" in out
    assert run("photos.csv", "--json")[1].startswith("{")
    assert run("photos.csv", "--method", "gda")[0] == 2
    assert run("none.csv")[0] != 0
    assert run("photos.csv", "--separator", "")[0] == 2


@pytest.mark.data
@pytest.mark.slow
def test_coco(data_root: Path) -> None:
    """Objects of at least 2 % of the picture: thresholds name more of them than the one best class does."""
    from diptych.backbones.sources.load import load

    folder = data_root / "coco_mini"
    with open(folder / "instances.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["area_frac"]) >= 0.02]
    names = sorted({row["category"] for row in rows})
    paths = sorted({row["image"] for row in rows})
    targets = np.zeros((len(paths), len(names)), dtype=bool)
    for row in rows:
        targets[paths.index(row["image"]), names.index(row["category"])] = True
    photos = Table(ImageFiles([folder / p for p in paths]), {"objects": Column("multilabel", targets)})
    result = several_labels(photos, ClassNames(tuple(names)), ZeroShot(), load("lite"), Run())
    share = targets.mean()
    assert result.average_precision > 2 * share
    assert result.micro.value > 2 * share / (1 + share), "naming everything has recall 1 and this precision"
