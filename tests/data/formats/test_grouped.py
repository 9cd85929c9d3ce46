from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.core import DataError, UsageError
from diptych.data.formats.grouped import FACTORS, is_imagenet_x
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
        ("image,said\na.png,one\n", UsageError, r"\(text\)"),
        ("picture,title\na.png,one\n", UsageError, "image"),
        ("image,title\na.png,\n", DataError, "has no caption in t.csv"),
        ("image,title\n../a.png,x\n", DataError, "leads outside"),
        ("image,title\n", DataError, "no rows"),
    ):
        rows(tmp_path, text, "t.csv")
        with pytest.raises(error, match=says):
            open_data(tmp_path / "t.csv", need="captions")


def annotations(folder: Path, *rows: tuple[str, object, tuple[str, ...]], name: str = "multi") -> Path:
    """The published file: one line per picture, with its class and factors."""
    lines = [
        {"file_name": file, "class": k, **{f: int(f in own) for f in FACTORS}, "justification": "dark", "one_word": ""}
        for file, k, own in rows
    ]
    path = folder / f"imagenet_x_val_{name}_factor.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_a_picture_is_an_item_of_each_of_its_factors(tmp_path: Path) -> None:
    photo(tmp_path / "val" / "n01440764" / "ILSVRC2012_val_00000293.JPEG")
    photo(tmp_path / "ILSVRC2012_val_00000002.JPEG")
    path = annotations(
        tmp_path,
        ("ILSVRC2012_val_00000293.JPEG", 0, ("darker", "pose")),
        ("ILSVRC2012_val_00000002.JPEG", 292, ("color",)),
        ("ILSVRC2012_val_00000002.JPEG", 292, ()),
        ("ILSVRC2012_val_00000003.JPEG", 1, ("style",)),
    )
    data = open_data(path, need="groups")
    table = data.split("test")
    assert (len(data.classes), data.classes[0], data.classes[292]) == (1000, "tench", "tiger")
    assert list(table.columns["group"].values) == ["pose", "darker", "color"]
    assert table.labels().tolist() == [0, 0, 292]
    assert table.items.name(0).endswith("n01440764/ILSVRC2012_val_00000293.JPEG")


def test_other_files_and_faults_are_told_apart(tmp_path: Path) -> None:
    other = tmp_path / "own.jsonl"
    other.write_text('{"file_name": "a.png", "class": 0}')
    assert not is_imagenet_x(other)
    with pytest.raises(DataError, match="None of the 1 pictures"):
        open_data(annotations(tmp_path, ("a.JPEG", 0, ("pose",))), need="groups")
    photo(tmp_path / "a.JPEG")
    with pytest.raises(DataError, match=r"Row 1 .* the class '1000'"):
        open_data(annotations(tmp_path, ("a.JPEG", 1000, ("pose",))), need="groups")
