from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import coco

from diptych.data.formats.panoptic import read_panoptic
from diptych.nn.dense.segments import Panoptic, Segment
from diptych.tasks.label_maps.segmented import COCO, GREY, Coco, Segmented, endings, of_others, percent

IDS = np.zeros((20, 30), dtype=np.int32)
IDS[2:8, 3:9], IDS[10:18, 12:28] = 1, 2
LABELS = np.where(IDS == 1, 1, np.where(IDS == 2, 2, 0)).astype(np.uint8)
FOUND = Panoptic(IDS, (Segment(1, 1, 0.9, True, 36, (3, 2, 6, 6)), Segment(2, 2, 0.8, False, 128, (12, 10, 16, 8))))
THINGS = (False, True, False)


def item(**changes: object) -> Segmented:
    classes = ("background", "cat", "grass")
    whole = Segmented("a.png", Image.new("RGB", (30, 20), "red"), LABELS, classes, np.full((20, 30), 0.6, "f4"), FOUND)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_every_file_is_written_and_named_before(tmp_path: Path) -> None:
    item().write(tmp_path, "a")
    assert {p.name for p in tmp_path.iterdir()} == {f"a{e}" for e in endings(confidence=True, things=True)}
    assert np.asarray(Image.open(tmp_path / "a.instances.png")).max() == 1
    assert np.asarray(Image.open(tmp_path / "a.confidence.png")).ravel()[0] == 153
    facts = json.loads((tmp_path / "a.json").read_text())
    assert [s["label"] for s in facts["segments"]] == ["cat", "grass"]
    assert facts["areas"][0]["confidence"] == 0.6
    item(confidence=None, panoptic=None).write(tmp_path, "b")
    assert {p.name for p in tmp_path.iterdir() if p.name[0] == "b"} == {f"b{e}" for e in endings()}


def test_unknown_pixels_are_of_no_class_and_grey() -> None:
    labels = LABELS.copy()
    labels[0] = 255
    found = item(labels=labels)
    assert found.unknown() == pytest.approx(1 / 20)
    assert sum(found.areas().values()) == pytest.approx(19 / 20)
    assert found.as_dict()["unknown"] == 0.05
    grey = np.asarray(found.shown())[0, 15]
    expected = np.array([255, 0, 0]) + 0.55 * (np.array(GREY) - [255, 0, 0])
    assert abs(grey - expected).max() <= 1


def test_borders_are_those_of_the_label_map_and_of_segments_that_touch_inside_a_class() -> None:
    black = Image.new("RGB", (30, 20))
    plain = np.asarray(item(image=black, panoptic=None).shown())[:, :30]
    np.testing.assert_array_equal(np.asarray(item(image=black).shown())[:, :30], plain)
    ids = np.where((IDS == 1) & (np.arange(30) > 5), 3, IDS).astype(np.int32)
    two = Panoptic(ids, (*FOUND.segments, Segment(3, 1, 0.9, True, 18, (6, 2, 3, 6))))
    changed = (np.asarray(item(image=black, panoptic=two).shown())[:, :30] != plain).any(2)
    assert np.argwhere(changed).tolist() == [[row, 6] for row in range(3, 8)]


def test_the_annotations_are_read_by_coco_and_by_us(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item().write(tmp_path, "a")
    item().image.save(tmp_path / "a.png")
    written = Coco(item().classes, THINGS)
    written.add("a", item())
    written.write(tmp_path)
    api = coco.COCO(str(tmp_path / COCO[1]))
    (annotation,) = api.loadAnns(api.getAnnIds())
    np.testing.assert_array_equal(api.annToMask(annotation), IDS == 1)
    assert api.loadCats(annotation["category_id"])[0]["name"] == "cat"
    assert coco.maskUtils.area(api.annToRLE(annotation)) == annotation["area"] == 36
    data = read_panoptic(tmp_path / COCO[0], tmp_path, tmp_path)
    assert data.things == THINGS
    truth = data.split("test").columns["panoptic"].values[0]
    np.testing.assert_array_equal(truth[..., 1], IDS)
    np.testing.assert_array_equal(truth[..., 0], np.where(IDS == 0, 255, LABELS))
    capsys.readouterr()


def test_shares_in_words() -> None:
    assert (percent(0.001), percent(0.5)) == ("<1%", "50%")


def test_files_of_photos_of_an_earlier_run_are_named(tmp_path: Path) -> None:
    for name in ("a.labels.png", "b.labels.png", "b.overlay.png", "c.d.labels.png"):
        (tmp_path / name).touch()
    assert of_others(tmp_path, ".labels.png", ["a", "b", "c.d", "e"]) == []
    (said,) = of_others(tmp_path, ".labels.png", ["b"])
    assert said.startswith(
        f"{tmp_path} has files of 2 photos that are not among these, left by an earlier run: a, c.d."
    )
