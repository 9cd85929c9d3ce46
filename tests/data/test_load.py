from __future__ import annotations

import csv
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.load import open_data
from diptych.data.named_sets import demo_folder
from diptych.data.words.classnames import read_names
from tests.support.image_files import photo
from tests.support.work.cluster import write_tars


def test_folder_table_and_single_photo(tmp_path: Path) -> None:
    path = photo(tmp_path / "set/cat/a.png")
    (tmp_path / "set.csv").write_text("path,label\nset/cat/a.png,cat\n")
    assert open_data(tmp_path / "set").classes == open_data(str(tmp_path / "set.csv")).classes == ("cat",)
    assert open_data(path).splits["test"].items.name(0) == str(path)


def test_what_cannot_be_opened_is_named_with_its_remedy(tmp_path: Path) -> None:
    one = photo(tmp_path / "one" / "a.png")
    os.mkfifo(tmp_path / "pipe")
    for spec, error, said in (
        ([str(one), str(one.parent)], UsageError, "one is a folder, and one of 2: give one folder alone, or photos."),
        ([str(one), "cat", "dog"], UsageError, "There is no file cat: class names go to names, file names with"),
        ("http://example.com/cat.jpg", UsageError, "an address of the web, which is not fetched"),
        ("photos/*.jpg", UsageError, r"no file photos/\*\.jpg: patterns are not expanded"),
        (tmp_path / "pipe", DataError, "is a pipe or a device"),
        (Path(__file__), DataError, r"neither a table \(\.csv, \.tsv, \.parquet\) nor a picture: give one of these"),
    ):
        with pytest.raises(error, match=said):
            open_data(spec, need="photos")  # type: ignore[arg-type]


def test_a_column_of_captions_needs_a_table(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "0.png")
    for need in ("captions or classes", "any"):
        with pytest.raises(DataError, match=r"has no table with the column 'title': leave out text, or give one"):
            open_data(tmp_path, text="title", need=need)  # type: ignore[arg-type]
    assert open_data(tmp_path, need="captions or classes").classes == ("cat", "dog")


def test_plain_tars_are_photos_without_labels(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 2, 5)
    by_range, by_folder, one = open_data(tars), open_data(tmp_path / "tars"), open_data(tmp_path / "tars" / "001.tar")
    assert by_range.classes == ()
    assert by_range.hash == by_folder.hash
    items = by_range.splits["test"].items
    assert [items.name(i) for i in (0, 9)] == [
        f"{tmp_path}/tars/000.tar!0000000.png",
        f"{tmp_path}/tars/001.tar!0010004.png",
    ]
    assert [items.key(i) for i in range(5, 10)] == [one.splits["test"].items.key(i) for i in range(5)]
    assert items[0].size == (12, 12)
    with tarfile.open(tmp_path / "texts.tar", "w") as tar:
        tar.add(__file__, "a.txt")
    with pytest.raises(DataError, match=r"texts\.tar!a: has no picture"):
        open_data(tmp_path / "texts.tar")
    with pytest.raises(UsageError, match="no tar"):
        open_data(str(tmp_path / "tars" / "{000..002}.tar"))


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("absent", UsageError, "There is no file or folder"),
        ("demo:cars", UsageError, "no demo 'cars'"),
        (__file__, DataError, "neither a table"),
    ],
)
def test_nothing_to_open(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_data(spec)


def test_demo_photos_ship_with_names_and_credits() -> None:
    data = open_data("demo:photos")
    items = data.splits["test"].items
    names = read_names(demo_folder("photos") / "names.txt")
    with (demo_folder("photos") / "credits.csv").open(encoding="utf-8") as lines:
        credits = {row["path"]: row for row in csv.DictReader(lines)}
    shown = {Path(items.name(i)).name for i in range(len(items))}
    assert shown == set(credits)
    assert {row["name"] for row in credits.values()} < set(names)
    assert all(row["licence"].startswith(("CC0", "public domain", "no known copyright")) for row in credits.values())
    assert all(max(items[i].size) <= 512 for i in range(len(items)))
    assert (data.name, data.classes) == ("demo:photos", ())


def test_demo_clothes_ship_with_credits() -> None:
    data = open_data("demo:clothes")
    assert (len(data.classes), {s: len(t) for s, t in data.splits.items()}) == (10, {"train": 500, "test": 138})
    assert np.bincount(data.splits["train"].labels()).tolist() == [50] * 10
    root = demo_folder("clothes")
    with (root / "credits.csv").open(encoding="utf-8") as lines:
        credited = {row["path"] for row in csv.DictReader(lines) if row["licence"] == "CC0-1.0"}
    assert credited == {p.relative_to(root).as_posix() for p in root.rglob("*.jpg")}
    assert sum(p.stat().st_size for p in root.rglob("*.jpg")) < 3e6
    for table in data.splits.values():
        for i in range(0, len(table), 25):
            assert min(table.items[i].size) <= 128


@pytest.mark.data
def test_development_sets_open(data_root: Path) -> None:
    for name, classes in (("cifar10_small", 10), ("caltech40", 40), ("clothing_small", 10), ("ucmerced21", 21)):
        folder, table = open_data(data_root / name), open_data(data_root / name / "labels.csv")
        assert len(folder.classes) == classes
        assert folder.hash == table.hash
