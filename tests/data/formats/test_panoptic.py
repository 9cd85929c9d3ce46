from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.formats.panoptic import ids_of, read_panoptic, rgb_of

IDS = np.array([[0, 7, 7], [70_000, 70_000, 300]])


def written(root: Path, **changes: Any) -> Path:
    (root / "images").mkdir()
    (root / "panoptic").mkdir()
    Image.new("RGB", (3, 2)).save(root / "images" / "a.png")
    Image.fromarray(rgb_of(IDS)).save(root / "panoptic" / "a.png")
    facts = {
        "images": [{"id": 5, "file_name": "a.png"}],
        "annotations": [
            {
                "image_id": 5,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 7, "category_id": 18, "iscrowd": 0},
                    {"id": 70_000, "category_id": 1},
                    {"id": 300, "category_id": 1, "iscrowd": 1},
                ],
            }
        ],
        "categories": [{"id": 18, "name": "dog", "isthing": 1}, {"id": 1, "name": "sky", "isthing": 0}],
    }
    (root / "panoptic.json").write_text(json.dumps(facts | changes))
    return root / "panoptic.json"


def test_colours_are_numbers() -> None:
    assert np.array_equal(ids_of(rgb_of(IDS)), IDS)
    assert rgb_of(np.array([[70_000]])).tolist() == [[[112, 17, 1]]]


def test_segments_classes_and_marks_are_read(tmp_path: Path) -> None:
    data = read_panoptic(written(tmp_path), tmp_path / "images")
    assert data.classes == ("sky", "dog")
    assert data.things == (False, True)
    table = data.split("test")
    truth = table.columns["panoptic"].values[0]
    assert truth[..., 0].tolist() == [[255, 1, 1], [0, 0, 255]]  # nothing, and a crowd
    assert truth[..., 1].tolist() == IDS.tolist()
    assert table.columns["mask"].values[0].tolist() == [[255, 1, 1], [0, 0, 255]]
    assert table.columns["mask"].take([0]).values[0].dtype == np.uint8


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, annotations=[{"image_id": 5, "file_name": "a.png", "segments_info": []}])
    table = read_panoptic(path, tmp_path / "images").split("test")
    with pytest.raises(DataError, match="segment 7"):
        table.columns["mask"].values[0]
    with pytest.raises(UsageError, match="no folder"):
        read_panoptic(path, tmp_path / "none")
    with pytest.raises(UsageError, match="'all'"):
        read_panoptic(path, tmp_path / "images", split="all")
    path.write_text(json.dumps({"images": [], "annotations": [{}], "categories": [{"id": 1, "name": "a"}]}))
    with pytest.raises(DataError, match="KeyError"):
        read_panoptic(path, tmp_path / "images")
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(DataError, match="0 categories"):
        read_panoptic(path, tmp_path / "images")
