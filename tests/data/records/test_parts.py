from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.data.folders import ImageFiles
from diptych.data.records.parts import region_records
from diptych.data.records.records import stamp
from diptych.data.region_items import Regions


def test_records_have_the_phrase_as_text_and_photo_and_box_as_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), "red").save(path)
    corners = np.array([[0, 0, 20, 20], [20, 0, 40, 20]], np.float32)
    records = region_records(Regions(ImageFiles([path]), (0, 0), corners, ("a cat", "a dog")))
    photo = os.path.abspath(path)
    assert records.names == (f"{photo}[0,0,20,20]", f"{photo}[20,0,40,20]")
    assert records.texts == ("a cat", "a dog")
    sides = {"x0": 20.0, "y0": 0.0, "x1": 40.0, "y1": 20.0, "w": 20.0, "h": 20.0}
    assert records.facts[1] == {"photo": photo, **sides}
    picture = records[1].image
    assert picture is not None
    assert picture.size == (20, 20)
    assert stamp(records.names[0]) == stamp(photo) != "", "an unchanged photo is not read again"
