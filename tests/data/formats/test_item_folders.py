from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diptych.core import DataError, Texts
from diptych.data.formats.item_folders import ItemKind, by_folders

KIND = ItemKind("note", "a folder of notes")


def read(root: Path) -> Any:
    return by_folders(root, lambda path: path.suffix == ".note", lambda paths: Texts(tuple(paths)), KIND)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_splits_classes_and_neither(tmp_path: Path) -> None:
    for name in ("Training/b/2.note", "Training/a/1.note", "valid/a/3.note", "Training/a/.hidden.note"):
        write(tmp_path / "set" / name)
    data = read(tmp_path / "set")
    assert (data.classes, list(data)) == (("a", "b"), ["train", "val"])
    assert data["train"].labels().tolist() == [0, 1]
    assert [Path(t).name for t in data["train"].items] == ["1.note", "2.note"]
    bare = read(tmp_path / "set/valid/a")
    assert (bare.classes, "label" in bare["test"].columns) == ((), False)


def test_errors_name_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"No notes below .*: give a folder of notes"):
        read(tmp_path)
    write(tmp_path / "set/a.note")
    write(tmp_path / "set/x/b.note")
    with pytest.raises(DataError, match="lies beside the class folders"):
        read(tmp_path / "set")
    write(tmp_path / "two/x/b.note")
    (tmp_path / "two/y").mkdir()
    with pytest.raises(DataError, match="No notes of y below"):
        read(tmp_path / "two")
