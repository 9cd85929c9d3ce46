from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.data.formats.cloud_folder import holds_clouds
from diptych.data.load import open_data


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.random.default_rng(seed).normal(size=(5, 3)))
    return path


def test_class_folders_with_and_without_splits(tmp_path: Path) -> None:
    for i, name in enumerate(("train/chair/a.xyz", "train/lamp/b.pts", "test/chair/c.xyz")):
        write(tmp_path / name, i)
    data = open_data(tmp_path, need="clouds")
    assert (data.classes, list(data)) == (("chair", "lamp"), ["train", "test"])
    assert data["train"].labels().tolist() == [0, 1]
    assert data["train"].items[1].shape == (5, 3)
    bare = open_data(tmp_path / "train/chair", need="clouds")
    assert (bare.classes, len(bare["test"])) == ((), 1)
    assert len(open_data(tmp_path / "train/chair/a.xyz", need="clouds").whole()) == 1
    two = [str(tmp_path / "train/chair/a.xyz"), str(tmp_path / "train/lamp/b.pts")]
    assert len(open_data(two, need="clouds").whole()) == 2


def test_what_holds_clouds(tmp_path: Path) -> None:
    assert holds_clouds(write(tmp_path / "a/b/c.xyz"))
    assert holds_clouds(tmp_path / "a")
    write(tmp_path / "n/x.npy")
    assert holds_clouds(tmp_path / "n/x.npy")
    assert not holds_clouds(tmp_path / "n")  # a folder of arrays may hold anything
    assert not holds_clouds(write(tmp_path / "t/names.txt"))
    (tmp_path / "empty").mkdir()
    assert not holds_clouds(tmp_path / "empty")


def test_missing_clouds_are_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"No clouds below .*: give a folder of files that end in \.npy"):
        open_data(tmp_path, need="clouds")
    with pytest.raises(UsageError, match="no file or folder"):
        open_data([str(tmp_path / "x.xyz"), str(tmp_path / "y.xyz")], need="clouds")
