"""Photos as verbs take them: what is a clip, which folders name classes, and what is said of speed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diptych.cli import photos
from diptych.core import Run
from diptych.data.format import FRAMES
from diptych.data.keys import FileKeys
from diptych.evaluation import datasets
from diptych.verbs.photos import open_table
from tests.support.colours import coloured
from tests.support.dense_colours import masked_folder


def test_frames_are_those_asked_for_or_those_of_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    video, folder = str(tmp_path / "a.mp4"), str(tmp_path)
    assert photos.clip_frames([video], None) == FRAMES
    assert photos.clip_frames([video], 3) == 3
    assert photos.clip_frames(["demo:photos"], None) is None
    (tmp_path / "a.mp4").unlink()
    coloured(tmp_path / "a.png", "red", 0)
    assert photos.clip_frames([folder], None) is None
    assert photos.clip_frames([folder], 2) == 2


def test_two_folders_name_classes_and_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "one/red").mkdir(parents=True)
    (tmp_path / "two/red").mkdir(parents=True)
    (tmp_path / "two/blue").mkdir()
    for place in ("one/red", "two/red", "two/blue"):
        coloured(tmp_path / place / "a.png", place.rpartition("/")[2], 0)
    with FileKeys(tmp_path / "keys") as keys:
        data, classes = photos.open_photos([str(tmp_path / "one")], keys)
        assert (len(data.items), classes) == (1, ())
        data, classes = photos.open_photos([str(tmp_path / "two")], keys)
        assert (len(data.items), classes) == (2, ("blue", "red"))
        several = [str(tmp_path / place / "a.png") for place in ("two/red", "two/blue")]
        data, classes = photos.open_photos(several, keys)
        items = data.items
        assert ([items.name(i) for i in range(len(items))], classes) == (several, ())


def test_photos_that_ship_have_names() -> None:
    assert Path(photos.demo_names()).read_text(encoding="utf-8").strip()


def test_speed_names_the_things_or_the_cache() -> None:
    run = Run(device="cpu")
    assert photos.speed(0, 1.0, run, "lite") == "lite on cpu, fp32: all from the cache"
    assert photos.speed(8, 2.0, run, "lite", "clips") == "lite on cpu, fp32: 8 clips in 2.0 s, 4 clips/s"
    assert photos.counted(26, 235.0) == "26 images in 235.0 s, 0.11 images/s"


def test_void_values_are_no_classes_of_photos_and_of_those_that_are_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are given, and those of the data set's record."""
    folder = str(masked_folder(tmp_path / "set"))
    with FileKeys(None) as keys:
        assert photos.open_photos([folder], keys, void=(1,))[1] == ("green", "blue", "yellow")
        assert open_table(folder, "masks", keys, void=(1,)).classes == ("green", "blue", "yellow")
        record = replace(datasets.DATA_SETS["msrc_small"], void=(2,))
        monkeypatch.setattr(datasets, "DATA_SETS", {"set": record})
        assert photos.open_photos([folder], keys)[1] == ("red", "blue", "yellow")
        learnt = open_table(folder, "masks", keys, void=(1,))
    assert learnt.classes == ("blue", "yellow")
    assert {int(v) for mask in learnt.columns["mask"].values for v in np.unique(mask)} == {0, 255}
