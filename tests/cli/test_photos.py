"""Photos as verbs take them: what is a clip, which folders name classes, and what is said of speed."""

from __future__ import annotations

from pathlib import Path

from diptych.cli import photos
from diptych.core.run import Run
from diptych.data.format import FRAMES
from diptych.data.keys import FileKeys
from tests.support.colours import coloured


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
        items, classes = photos.open_photos([str(tmp_path / "one")], keys)
        assert (len(items), classes) == (1, ())
        items, classes = photos.open_photos([str(tmp_path / "two")], keys)
        assert (len(items), classes) == (2, ("blue", "red"))
        several = [str(tmp_path / place / "a.png") for place in ("two/red", "two/blue")]
        items, classes = photos.open_photos(several, keys)
        assert ([items.name(i) for i in range(len(items))], classes) == (several, ())


def test_photos_that_ship_have_names() -> None:
    assert Path(photos.demo_names()).read_text(encoding="utf-8").strip()


def test_speed_names_the_things_or_the_cache() -> None:
    run = Run(device="cpu")
    assert photos.speed(0, 1.0, run, "lite") == "lite on cpu, fp32: all from the cache"
    assert photos.speed(8, 2.0, run, "lite", "clips") == "lite on cpu, fp32: 8 clips in 2.0 s, 4 clips/s"
