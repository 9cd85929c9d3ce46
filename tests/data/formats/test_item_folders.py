from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Texts, UnreadableItem, UsageError
from diptych.data.formats.item_folders import ClipFiles, ItemKind, by_folders, holds_clips, holds_clouds, is_clip
from diptych.data.load import open_data
from tests.support.image_files import photo
from tests.support.moving import video

KIND = ItemKind("note", "a folder of notes")


def read(root: Path) -> Any:
    return by_folders(root, lambda path: path.suffix == ".note", lambda paths: Texts(tuple(paths)), KIND)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_splits_classes_and_neither(tmp_path: Path) -> None:
    for name in ("Training/b/2.note", "Training/a/1.note", "valid/a/3.note", "Training/a/.hidden.note"):
        write(tmp_path / "set" / name)
    data = read(tmp_path / "set")
    assert (data.classes, list(data)) == (("a", "b"), ["train", "val"])
    assert data["train"].labels().tolist() == [0, 1]
    assert [Path(t).name for t in data["train"].items] == ["1.note", "2.note"]
    bare = read(tmp_path / "set/valid/a")
    assert (bare.classes, "label" in bare["test"].columns) == ((), False)


def test_errors_name_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"No notes below .*: give a folder of notes"):
        read(tmp_path)
    write(tmp_path / "set/a.note")
    write(tmp_path / "set/x/b.note")
    with pytest.raises(DataError, match="lies beside the class folders"):
        read(tmp_path / "set")
    write(tmp_path / "two/x/b.note")
    (tmp_path / "two/y").mkdir()
    with pytest.raises(DataError, match="No notes of y below"):
        read(tmp_path / "two")


def write_cloud(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.random.default_rng(seed).normal(size=(5, 3)))
    return path


def test_class_folders_with_and_without_splits(tmp_path: Path) -> None:
    for i, name in enumerate(("train/chair/a.xyz", "train/lamp/b.pts", "test/chair/c.xyz")):
        write_cloud(tmp_path / name, i)
    data = open_data(tmp_path, need="clouds")
    assert (data.classes, list(data)) == (("chair", "lamp"), ["train", "test"])
    assert data["train"].labels().tolist() == [0, 1]
    assert data["train"].items[1].shape == (5, 3)
    bare = open_data(tmp_path / "train/chair", need="clouds")
    assert (bare.classes, len(bare["test"])) == ((), 1)
    assert len(open_data(tmp_path / "train/chair/a.xyz", need="clouds").whole()) == 1
    two = [str(tmp_path / "train/chair/a.xyz"), str(tmp_path / "train/lamp/b.pts")]
    assert len(open_data(two, need="clouds").whole()) == 2


def test_what_holds_clouds(tmp_path: Path) -> None:
    assert holds_clouds(write_cloud(tmp_path / "a/b/c.xyz"))
    assert holds_clouds(tmp_path / "a")
    write_cloud(tmp_path / "n/x.npy")
    assert holds_clouds(tmp_path / "n/x.npy")
    assert not holds_clouds(tmp_path / "n")  # a folder of arrays may hold anything
    assert not holds_clouds(write_cloud(tmp_path / "t/names.txt"))
    (tmp_path / "empty").mkdir()
    assert not holds_clouds(tmp_path / "empty")


def test_missing_clouds_are_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"No clouds below .*: give a folder of files that end in \.npy"):
        open_data(tmp_path, need="clouds")
    with pytest.raises(UsageError, match="no file or folder"):
        open_data([str(tmp_path / "x.xyz"), str(tmp_path / "y.xyz")], need="clouds")


def frames(folder: Path, count: int = 3) -> Path:
    for n in range(count):
        photo(folder / f"{n}.png", n)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One class of a video and a folder of frames, one of a folder."""
    (tmp_path / "clips/wave").mkdir(parents=True)
    video(tmp_path / "clips/wave/a.mp4")
    frames(tmp_path / "clips/wave/b")
    frames(tmp_path / "clips/jump/c")
    return tmp_path / "clips"


def test_class_folders_of_videos_and_frame_folders(root: Path) -> None:
    data = open_data([str(root)], need="clips", frames=4)
    assert data.classes == ("jump", "wave")
    table = data.splits["test"]
    assert table.labels().tolist() == [0, 1, 1]
    assert [Path(table.items.name(i)).name for i in range(3)] == ["c", "a.mp4", "b"]
    assert {len(table.items[i]) for i in range(3)} == {4}
    assert table.items.key(0) == table.items.key(2) != table.items.key(1)  # the same frames in two folders
    assert table.items.key(1) != open_data([str(root)], need="clips", frames=5).splits["test"].items.key(1)


def test_split_folders_single_clips_and_clips_without_classes(root: Path) -> None:
    for split in ("train", "val"):
        frames(root / split / "run" / "x")
    both = open_data([str(root)], need="clips")
    assert set(both.splits) == {"train", "val"}
    assert both.classes == ("run",)
    flat = open_data([str(root / "wave")], need="clips")
    assert flat.classes == ()
    assert len(flat.splits["test"]) == 2
    one = open_data([str(root / "wave/a.mp4"), str(root / "wave/b")], need="clips")
    assert len(one.splits["test"]) == 2
    assert len(open_data([str(root / "wave/b")], need="clips").splits["test"]) == 1


def test_what_a_folder_holds_is_seen_from_its_first_file(root: Path) -> None:
    assert holds_clips(root / "wave/a.mp4")
    assert holds_clips(root / "wave")
    assert not holds_clips(root / "jump")  # pictures: photos, unless the user says they are frames
    assert is_clip(root / "jump/c")
    assert not is_clip(root / "jump")


@pytest.mark.parametrize("photo", ["b.jpg", "trip/c.jpg", "a.png"])
def test_a_video_among_photos_makes_no_clips_of_them(tmp_path: Path, photo: str) -> None:
    folder = tmp_path / "camera"
    (folder / "trip").mkdir(parents=True)
    (folder / "a videos").mkdir()
    video(folder / ("a videos/0.mp4" if "/" in photo else "a.mp4"))
    Image.new("RGB", (8, 8)).save(folder / photo)
    assert not holds_clips(folder)


def test_unreadable_clips_are_named(root: Path) -> None:
    (root / "wave/broken.mp4").write_bytes(b"no video")
    (root / "wave/d").mkdir()
    clips = ClipFiles([str(root / "wave/broken.mp4"), str(root / "wave/d")])
    with pytest.raises(UnreadableItem, match=r"broken\.mp4: damaged, or no video"):
        clips[0]
    with pytest.raises(UnreadableItem, match="no pictures"):
        clips[1]


def test_wrong_folders(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        open_data([str(tmp_path / "absent")], need="clips")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="is not a video"):
        open_data([str(tmp_path / "notes.txt")], need="clips")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No clips below"):
        open_data([str(tmp_path / "empty")], need="clips")
    (root / "sit").mkdir()
    with pytest.raises(DataError, match="No clips of sit"):
        open_data([str(root)], need="clips")
    video(root / "stray.mp4")
    with pytest.raises(DataError, match="beside the class folders"):
        open_data([str(root)], need="clips")
