"""Regions of captioned photos as a table, and what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diptych.core import Run, UsageError
from diptych.data.formats.region_table import with_regions
from diptych.data.load import open_data
from diptych.tasks.curate.regions import RegionTable, find_regions, quality
from tests.features.test_region_labels import Halves, table
from tests.support.colours import ColourBackbone


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        table().items[0].save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    said = "a red car beside a blue boat"
    (tmp_path / "photos.csv").write_text(f"path,caption\na.png,{said}\nbroken.png,{said}\nb.png,a red car\n")
    return tmp_path


def found_in(folder: Path) -> tuple[Any, RegionTable]:
    data = open_data(folder / "photos.csv", need="captions")
    return data, find_regions(data.whole(), ColourBackbone(), Halves(), Run())


def test_the_table_is_read_as_regions_from_any_folder(photos: Path) -> None:
    data, found = found_in(photos)
    assert (found.count, len(found.table)) == (3, 2)
    assert [Path(e.name).name for e in found.failed] == ["broken.png"]
    (photos / "elsewhere").mkdir()
    found.write(photos / "elsewhere" / "regions.csv")
    text = (photos / "elsewhere" / "regions.csv").read_text()
    assert text.splitlines()[:2] == ["image,x0,y0,x1,y1,phrase", "../a.png,0.0,0.0,20.0,20.0,red car"]
    again = with_regions(data, photos / "elsewhere" / "regions.csv").whole()
    assert again.columns["phrases"].values == (("red car", "blue boat"), (), ("red car",))
    assert again.columns["boxes"].values[2].corners.tolist() == [[0, 0, 20, 20]]


def test_quality_against_true_boxes(photos: Path) -> None:
    data, found = found_in(photos)
    rows = "a.png,0,0,20,20,car\nb.png,0,0,10,20,car\nb.png,0,0,9,9,boat\n"
    (photos / "true.csv").write_text(f"image,x0,y0,x1,y1,category\n{rows}")
    judged = quality(found, with_regions(data, photos / "true.csv").whole(), seed=0)
    assert judged.named == 3  # the boat of a.png is not there: present 2 of 3
    told = judged.as_dict()
    assert told["present"]["value"] == pytest.approx(2 / 3)
    assert told["right"]["value"] == pytest.approx(2 / 3)
    assert told["iou"]["value"] == pytest.approx((1 + 0 + 0.5) / 3)
    (photos / "true.csv").write_text("image,x0,y0,x1,y1,category\na.png,0,0,20,20,dog\n")
    assert quality(found, with_regions(data, photos / "true.csv").whole(), seed=0).as_dict() == {"named": 0}
    (photos / "true.csv").write_text("image,x0,y0,x1,y1,phrase\na.png,0,0,20,20,a car\n")
    with pytest.raises(UsageError, match="a column 'category'"):
        quality(found, with_regions(data, photos / "true.csv").whole(), seed=0)
