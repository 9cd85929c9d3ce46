from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DiptychError
from diptych.data.format import FRAMES
from diptych.data.keys import FileKeys
from diptych.evaluation import datasets
from diptych.verbs.photos import clip_frames, open_photos, open_samples, open_table, paths_of
from tests.support.colours import colour_folder, coloured
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


def test_one_photo_opens_without_the_records_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first answer waits for each module."""
    Image.new("RGB", (4, 4)).save(tmp_path / "one.png")
    monkeypatch.setitem(sys.modules, "diptych.evaluation.datasets", None)
    assert len(open_photos([str(tmp_path / "one.png")], None)[0]) == 1
    with pytest.raises(ImportError):
        open_photos([str(tmp_path)], None)


def test_tables_bring_what_is_needed_or_say_what_is_missing(tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "set")
    assert "mask" in open_table(folder, "masks", None).columns
    with pytest.raises(DiptychError, match="nowhere"):
        open_table(tmp_path / "nowhere", "masks", None)


def test_frames_are_those_asked_for_or_those_of_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    video, folder = str(tmp_path / "a.mp4"), str(tmp_path)
    assert clip_frames([video], None) == FRAMES
    assert clip_frames([video], 3) == 3
    assert clip_frames(["demo:photos"], None) is None
    (tmp_path / "a.mp4").unlink()
    coloured(tmp_path / "a.png", "red", 0)
    assert clip_frames([folder], None) is None
    assert clip_frames([folder], 2) == 2


def test_two_folders_name_classes_and_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "one/red").mkdir(parents=True)
    (tmp_path / "two/red").mkdir(parents=True)
    (tmp_path / "two/blue").mkdir()
    for place in ("one/red", "two/red", "two/blue"):
        coloured(tmp_path / place / "a.png", place.rpartition("/")[2], 0)
    with FileKeys(tmp_path / "keys") as keys:
        data, classes = open_photos([str(tmp_path / "one")], keys)
        assert (len(data.items), classes) == (1, ())
        data, classes = open_photos([str(tmp_path / "two")], keys)
        assert (len(data.items), classes) == (2, ("blue", "red"))
        several = [str(tmp_path / place / "a.png") for place in ("two/red", "two/blue")]
        data, classes = open_photos(several, keys)
        items = data.items
        assert ([items.name(i) for i in range(len(items))], classes) == (several, ())


def test_void_values_are_no_classes_of_photos_and_of_those_that_are_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are given, and those of the data set's record."""
    folder = str(masked_folder(tmp_path / "set"))
    with FileKeys(None) as keys:
        assert open_photos([folder], keys, void=(1,))[1] == ("green", "blue", "yellow")
        assert open_table(folder, "masks", keys, void=(1,)).classes == ("green", "blue", "yellow")
        record = replace(datasets.DATA_SETS["msrc_small"], void=(2,))
        monkeypatch.setattr(datasets, "DATA_SETS", {"set": record})
        assert open_photos([folder], keys)[1] == ("red", "blue", "yellow")
        learnt = open_table(folder, "masks", keys, void=(1,))
    assert learnt.classes == ("blue", "yellow")
    assert {int(v) for mask in learnt.columns["mask"].values for v in np.unique(mask)} == {0, 255}
