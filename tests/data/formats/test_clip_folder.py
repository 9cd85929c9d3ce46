from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.formats.clip_folder import ClipFiles, holds_clips, is_clip
from diptych.data.load import open_data
from tests.support.image_files import photo
from tests.support.moving import video


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
