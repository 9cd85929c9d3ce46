from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from diptych.core import DiptychError
from diptych.verbs.photos import open_photos, open_samples, open_table, paths_of
from tests.support.colours import colour_folder
from tests.support.dense_colours import masked_folder


def test_paths_pictures_and_the_demo_open_alike(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "colours", {"train": 2})
    table, classes = open_photos([str(folder)], None)
    assert len(table) == 2 * len(classes) > 2
    assert len(open_photos(folder, None)[0]) == len(table)
    picture = Image.new("RGB", (4, 4))
    assert len(open_samples([picture, picture], None)) == 2
    assert "cat" in open_photos("demo:photos", None)[1]
    assert paths_of([picture]) is None


def test_tables_bring_what_is_needed_or_say_what_is_missing(tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "set")
    assert "mask" in open_table(folder, "masks", None).columns
    with pytest.raises(DiptychError, match="nowhere"):
        open_table(tmp_path / "nowhere", "masks", None)
