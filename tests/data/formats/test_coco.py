from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from diptych.core import DataError, UsageError
from diptych.data.formats import coco
from diptych.data.formats.coco import read_coco
from diptych.data.formats.regions import Masks, boxes
from tests.support.image_files import photo

IMAGES = [
    {"id": 9, "file_name": "b.png", "height": 30, "width": 40},
    {"id": 4, "file_name": "a.png", "height": 30, "width": 40},
]
SQUARE = [[5, 5, 15, 5, 15, 12, 5, 12]]


def written(
    folder: Path, name: str, annotations: list[dict[str, Any]], categories: bool = True, images: Any = IMAGES
) -> Path:
    value: dict[str, Any] = {"images": images, "annotations": annotations}
    if categories:
        value["categories"] = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    (folder / name).write_text(json.dumps(value))
    return folder / name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, image in enumerate(IMAGES):
        photo(tmp_path / str(image["file_name"]), seed)
    written(
        tmp_path,
        "instances.json",
        [
            {
                "id": 1,
                "image_id": 4,
                "category_id": 18,
                "bbox": [5, 5, 10, 7],
                "segmentation": SQUARE,
                "iscrowd": 0,
                "area": 70,
            },
            {
                "id": 2,
                "image_id": 4,
                "category_id": 1,
                "bbox": [0, 0, 40, 30],
                "iscrowd": 1,
                "area": 9,
                "segmentation": {"size": [30, 40], "counts": [600, 600]},
            },
        ],
    )
    captions = [
        {"id": i, "image_id": k, "caption": t} for i, (k, t) in enumerate([(9, " one "), (4, "two"), (9, "three")])
    ]
    written(tmp_path, "captions.json", captions, categories=False)
    return tmp_path


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_same_as_pycocotools(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = read_coco([root / "instances.json", root / "captions.json"], root)
    table = data.splits["test"]
    theirs = COCO(root / "instances.json")
    assert data.classes == ("person", "dog")
    assert [Path(table.items.name(i)).name for i in range(2)] == ["b.png", "a.png"]
    assert table.columns["captions"].values == (("one", "three"), ("two",))
    for i, image in enumerate(IMAGES):
        anns = theirs.loadAnns(theirs.getAnnIds([image["id"]]))
        held, masks = table.columns["boxes"].values[i], table.columns["mask"].values[i]
        assert held.corners.tolist() == [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in anns)]
        assert [data.classes[k] for k in held.labels] == [theirs.cats[a["category_id"]]["name"] for a in anns]
        assert held.crowd.tolist() == [bool(a["iscrowd"]) for a in anns]
        assert masks.shape == (len(anns), 30, 40)
        for ours, a in zip(masks, anns, strict=True):
            assert (ours != theirs.annToMask(a)).sum() <= 40  # the outline of the polygon; none for run lengths
    assert np.array_equal(table.columns["mask"].values[1][1], theirs.annToMask(theirs.anns[2]))


def test_masks_are_read_when_they_are_asked_for(root: Path) -> None:
    table = read_coco(root / "instances.json", root, split="train").splits["train"]
    taken = table.take([1]).columns["mask"].values
    assert isinstance(taken, Masks)
    assert taken[0].sum() > 600
    broken = Masks((1, 0), lambda n: np.ones(2) / n if n else pytest.fail("read"))
    assert len(broken.take([1, 0, 0])) == 3
    assert broken[0].sum() == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1]}, "picture 5"),
        ({"image_id": 4, "category_id": 2, "bbox": [0, 0, 1, 1]}, "category 2"),
        ({"image_id": 4, "category_id": 1, "bbox": [0, 0, -1, 1]}, "ends before it begins"),
        ({"image_id": 4, "category_id": 1, "bbox": [0, 0, 1]}, "not four numbers"),
        ({"image_id": 4, "category_id": 1}, "no COCO annotation file"),
        ({"category_id": 1, "bbox": [0, 0, 1, 1]}, "no COCO annotation file"),
    ],
)
def test_annotations_that_cannot_be_used(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(written(tmp_path, "x.json", [entry]), tmp_path)


def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = written(tmp_path, "x.json", [], images=[{"id": 1, "file_name": "../../secret.png"}])
    with pytest.raises(DataError, match="leads outside"):
        read_coco(outside, tmp_path)
    for text in ("{", "[]", "[" * 100_000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match=r"is not valid JSON|no COCO annotation"):
            read_coco(tmp_path / "x.json", tmp_path)
    monkeypatch.setattr(coco, "MAX_BYTES", 2)
    with pytest.raises(DataError, match="too much"):
        read_coco(tmp_path / "x.json", tmp_path)
    with pytest.raises(UsageError, match="There is no file"):
        read_coco(tmp_path / "y.json", tmp_path)
    with pytest.raises(UsageError, match="There is no folder"):
        read_coco(tmp_path / "x.json", tmp_path / "absent")
    with pytest.raises(UsageError, match="is no split"):
        read_coco(tmp_path / "x.json", tmp_path, split="dev")
    with pytest.raises(UsageError, match="No annotation file"):
        read_coco([], tmp_path)


def test_the_form_of_boxes_is_said() -> None:
    assert boxes([[1, 2, 3, 4]], "xywh", [0]).corners.tolist() == [[1, 2, 4, 6]]
    assert boxes([[1, 2, 3, 4]], "xyxy", [0]).corners.tolist() == [[1, 2, 3, 4]]
    assert boxes([], "xywh", []).corners.shape == (0, 4)
    with pytest.raises(UsageError, match="choose 'xywh' or 'xyxy'"):
        boxes([], "yxyx", [])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not finite"):
        boxes([[0, 0, float("inf"), 1]], "xyxy", [0])
