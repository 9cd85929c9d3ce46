from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Table, UsageError
from diptych.data.formats.anomaly import read_anomaly_parts, read_mvtec
from diptych.data.load import open_data
from tests.support.image_files import photo


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((30, 40), dtype=np.uint8)
    values[3:6, 4:9] = 255
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(
        ("train/good/0", "train/good/1", "test/good/0", "test/crack/0", "test/crack/1", "test/cut/0")
    ):
        photo(tmp_path / f"bottle/{name}.png", seed)
    for name in ("crack/0_mask", "crack/1_mask", "cut/0"):
        mask(tmp_path / f"bottle/ground_truth/{name}.png")
    return tmp_path / "bottle"


def rows(table: Table[object]) -> list[tuple[int, str, int]]:
    columns = table.columns
    return [
        (int(label), str(kind), int(m.sum()))
        for label, kind, m in zip(columns["label"].values, columns["group"].values, columns["mask"].values, strict=True)
    ]


def test_mvtec(root: Path) -> None:
    data = open_data(root)
    assert (data.name, data.classes) == ("bottle", ("normal", "anomalous"))
    assert rows(data.splits["train"]) == [(0, "good", 0)] * 2
    assert rows(data.splits["test"]) == [(1, "crack", 15), (1, "crack", 15), (1, "cut", 15), (0, "good", 0)]
    assert data.splits["test"].columns["mask"].values[3].shape == (30, 40)
    assert data.splits["test"].columns["mask"].values[0].dtype == bool


def test_normal_may_have_another_name_and_no_masks(root: Path) -> None:
    (root / "train/good").rename(root / "train/nominal")
    (root / "test/good").rename(root / "test/nominal")
    (root / "ground_truth").rename(root / "elsewhere")
    data = read_mvtec(root)
    assert data.splits["test"].labels().tolist() == [1, 1, 1, 0]
    assert "mask" not in data.splits["test"].columns


def test_anomalib_parts_say_the_same(root: Path) -> None:
    data = read_anomaly_parts(
        root, "train/good", ["test/crack", "test/cut"], "test/good", ["ground_truth/crack", "ground_truth/cut"]
    )
    assert data.hash == read_mvtec(root).hash
    assert sorted(rows(data.splits["test"])) == sorted(rows(read_mvtec(root).splits["test"]))
    assert "mask" not in read_anomaly_parts(root, "train/good", "test/cut", "test/good").splits["test"].columns


def test_folders_that_cannot_be_used(root: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        read_mvtec(root / "none")
    with pytest.raises(
        DataError, match=r"no folders train and test: put normal pictures into train/good, .* test/KIND"
    ):
        read_mvtec(root / "train")
    with pytest.raises(UsageError, match="1 mask folders for 2"):
        read_anomaly_parts(root, "train/good", ["test/crack", "test/cut"], "test/good", "ground_truth/cut")
    with pytest.raises(UsageError, match="no folder"):
        read_anomaly_parts(root, "train/fine", "test/cut", "test/good")
    (root / "ground_truth/cut/0.png").unlink()
    with pytest.raises(DataError, match=r"cut.0\.png has no mask"):
        read_mvtec(root)
    for name in ("0", "1"):
        (root / f"train/good/{name}.png").unlink()
    with pytest.raises(DataError, match="holds no pictures"):
        read_mvtec(root)
    with pytest.raises(DataError, match="no pictures for train"):
        read_anomaly_parts(root, "train/good", "test/cut", "test/good")


def test_a_train_folder_of_what_is_not_normal_is_refused_with_advice(tmp_path: Path) -> None:
    for kind in ("good", "bad"):
        photo(tmp_path / "train" / kind / "0.png")
    with pytest.raises(DataError, match=r"has no folder test: put normal .* \(of train, move bad there\)"):
        read_mvtec(tmp_path)
    photo(tmp_path / "test" / "good" / "0.png")
    photo(tmp_path / "test" / "scratch" / "0.png")
    with pytest.raises(DataError, match=r"train counts as normal, and .*train has bad beside good: move what is not"):
        read_mvtec(tmp_path)
    (tmp_path / "train/bad").rename(tmp_path / "test/bad")
    assert read_mvtec(tmp_path).splits["train"].labels().tolist() == [0]
