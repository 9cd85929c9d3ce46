from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import Column, Table, UnreadableItem
from diptych.data.folders import ImageFiles
from diptych.data.formats.regions import boxes
from diptych.data.region_items import Region, Regions, pictures_of


@pytest.fixture
def table(tmp_path: Path) -> Table[Image.Image]:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (40, 20), colour).save(tmp_path / name)
    told = (
        boxes([[0, 0, 20, 20], [1.5, 2.0, 30.2, 19.0]], "xyxy", [0, 1], [False, True]),
        boxes([[5, 5, 9, 9]], "xyxy", [1]),
    )
    columns = {"boxes": Column("boxes", told), "phrases": Column("captions", (("left", "many"), ("spot",)))}
    return Table(ImageFiles([tmp_path / "a.png", tmp_path / "b.png"]), columns)


def test_regions_are_samples_of_their_own(table: Table[Image.Image]) -> None:
    regions = Regions.of([table])
    assert (len(regions), regions.owner, regions.phrases) == (3, (0, 0, 1), ("left", "many", "spot"))
    assert [regions[i].size for i in range(3)] == [(20, 20), (30, 17), (4, 4)]
    assert regions[2].getpixel((0, 0)) == (0, 0, 255)
    assert len({regions.key(i) for i in range(3)}) == 3
    assert regions.name(1) == f"{table.items.name(0)}[1.5,2,30.2,19]"
    whole = Regions.of([table], cut=False)[1]
    assert isinstance(whole, Region)
    assert whole.image.size == (40, 20)
    assert whole.corners.tolist() == pytest.approx([1.5, 2.0, 30.2, 19.0])


def test_crowds_are_left_out_where_they_are_not_wanted(table: Table[Image.Image]) -> None:
    assert Regions.of([table], crowds=False).phrases == ("left", "spot")


def test_two_tables_are_joined(table: Table[Image.Image]) -> None:
    both = Regions.of([table, table])
    assert both.owner == (0, 0, 1, 2, 2, 3)
    assert both.key(0) == both.key(3), "the key is that of the content"


def test_a_box_outside_of_the_picture_has_a_pixel() -> None:
    assert Region(Image.new("RGB", (4, 4)), np.array([3.0, 3.0, 3.0, 3.0], np.float32)).crop().size == (1, 1)
    assert Region.whole(Image.new("RGB", (5, 4))).crop().size == (5, 4)


def test_failures_are_named_by_picture_once() -> None:
    failed = [UnreadableItem(f"a.png[{i},0,1,1]", "truncated") for i in range(2)]
    assert [str(e) for e in pictures_of(failed)] == ["a.png: truncated"]
