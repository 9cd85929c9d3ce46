from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, UsageError
from diptych.data.load import open_data
from tests.support.image_files import photo


def rows(folder: Path, text: str, name: str = "labels.csv") -> Path:
    for place in ("a.png", "b.png"):
        photo(folder / place)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_folder_with_labels_csv(tmp_path: Path) -> None:
    rows(tmp_path / "set", "path,shape,kind\na.png,cat,photo\nb.png,dog,sketch\n")
    data = open_data(tmp_path / "set", need="groups", group="kind", label="shape")
    table = data.split("test")
    assert (data.name, data.classes) == ("set", ("cat", "dog"))
    assert list(table.columns["group"].values) == ["photo", "sketch"]
    assert open_data(tmp_path / "set" / "labels.csv", need="groups", group="kind", label="shape").hash == data.hash


def test_folders_class_group(tmp_path: Path) -> None:
    for place in ("cat/snow/1.png", "cat/grass/2.png", "dog/snow/3.png"):
        photo(tmp_path / place)
    table = open_data(tmp_path, need="groups").split("test")
    assert table.labels().tolist() == [0, 0, 1]
    assert list(table.columns["group"].values) == ["grass", "snow", "snow"]


def test_counteranimal_as_published(tmp_path: Path) -> None:
    for place in ("ostrich/common-sand/1.jpg", "ostrich/counter-water/2.jpg", "brambling/counter-sky/3.jpg"):
        photo(tmp_path / place)
    data = open_data(tmp_path, need="groups")
    assert data.classes == ("brambling", "ostrich")
    assert list(data.split("test").columns["group"].values) == ["counter-sky", "common-sand", "counter-water"]


def test_bad_groups_are_named(tmp_path: Path) -> None:
    rows(tmp_path / "set", "path,shape,kind\na.png,cat,photo\nb.png,dog,\n")
    with pytest.raises(UsageError, match=r"\(label\)"):
        open_data(tmp_path / "set", need="groups", group="kind")
    with pytest.raises(UsageError, match=r"\(group\)"):
        open_data(tmp_path / "set", need="groups", group="", label="shape")
    with pytest.raises(DataError, match=r"Row 2 .* has no kind"):
        open_data(tmp_path / "set", need="groups", group="kind", label="shape")
    with pytest.raises(UsageError, match="no file or folder"):
        open_data(tmp_path / "absent.csv", need="groups", group="kind")
    photo(tmp_path / "flat" / "cat" / "1.png")
    with pytest.raises(DataError, match="CLASS/GROUP"):
        open_data(tmp_path / "flat", need="groups")
    with pytest.raises(UsageError, match=r"no labels\.csv"):
        open_data(tmp_path / "flat", need="groups", group="kind")


def test_captioned_pictures(tmp_path: Path) -> None:
    rows(tmp_path, "image,title\na.png,one\nb.png,two\n", "t.csv")
    table = open_data(tmp_path / "t.csv", need="captions").split("test")
    assert list(table.columns["captions"].values) == [("one",), ("two",)]
    for text, error, says in (
        ("image,said\na.png,one\n", UsageError, r"\(text, captions\)"),
        ("picture,title\na.png,one\n", UsageError, "image"),
        ("image,title\na.png,\n", DataError, "has no caption in t.csv"),
        ("image,title\n../a.png,x\n", DataError, "leads outside"),
        ("image,title\n", DataError, "no rows"),
    ):
        rows(tmp_path, text, "t.csv")
        with pytest.raises(error, match=says):
            open_data(tmp_path / "t.csv", need="captions")
