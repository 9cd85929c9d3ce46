from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, MissingExtra, Samples, UnreadableItem, UsageError
from diptych.data.formats import clips
from diptych.data.formats.clips import FrameFolders, Videos, frame_folders, middles, read_video, videos
from diptych.data.formats.typed import Typed, read_typed
from tests.support.image_files import not_a_picture, photo


def video(path: Path, frames: int = 20, size: tuple[int, int] = (64, 48)) -> Path:
    """Frame n is a grey of 10 n: lossy coding leaves it recognisable."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), 10 * n % 250, dtype=np.uint8), format="rgb24"
            )
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (1, 4), (7, 3), (8, 8), (20, 8), (100, 16), (3, 8)])
def test_middles_of_equal_segments(count: int, frames: int) -> None:
    for k, at in enumerate(middles(count, frames)):
        assert k * count / frames <= at + 0.5 <= (k + 1) * count / frames or frames > count
        assert 0 <= at < count
    assert middles(count, frames) == sorted(middles(count, frames))
    assert middles(8, 8) == list(range(8))
    assert middles(9, 1) == [4]


def test_videos(tmp_path: Path) -> None:
    items = Videos([video(tmp_path / "a.mp4")], frames=4)
    assert isinstance(items, Samples)
    clip = items[0]
    assert [round(np.asarray(f).mean() / 10) for f in clip] == middles(20, 4) == [2, 7, 12, 17]
    assert {f.size for f in clip} == {(64, 48)}
    assert items.name(0) == str(tmp_path / "a.mp4")
    assert items.key(0) != Videos(items.paths, frames=5).key(0)
    assert [round(np.asarray(f).mean() / 10) for f in read_video(tmp_path / "a.mp4", 20)] == list(range(20))


def test_the_container_does_not_matter(tmp_path: Path) -> None:
    for ending in ("avi", "mkv"):
        assert [round(np.asarray(f).mean() / 10) for f in read_video(video(tmp_path / f"a.{ending}"), 2)] == [5, 15]


def test_frame_folders(tmp_path: Path) -> None:
    for n in range(5):
        photo(tmp_path / f"a/{n:02d}.png", n, size=(20 + n, 9))
    photo(tmp_path / "a/inner/00.png")
    items = FrameFolders([tmp_path / "a", tmp_path / "b"], frames=2)
    assert isinstance(items, Samples)
    assert [f.size[0] for f in items[0]] == [21, 23]
    assert (
        items.key(0)
        == FrameFolders([tmp_path / "a"], frames=2).key(0)
        != FrameFolders([tmp_path / "a"], frames=3).key(0)
    )
    with pytest.raises(UnreadableItem, match="no such folder"):
        items[1]
    (tmp_path / "b").mkdir()
    with pytest.raises(UnreadableItem, match="no pictures"):
        items.key(1)
    Image.new("RGB", (3, 3)).save(tmp_path / "a/03.png")
    assert items[0][1].size == (3, 3)
    assert items.key(0) != FrameFolders([tmp_path / "a"], frames=2).key(0) or items.keys is None


def test_from_a_table(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    photo(tmp_path / "a/0.png")
    (tmp_path / "t.csv").write_text("clip,frames,action\na.mp4,a,wave\n")
    for column, opens in (("clip", videos), ("frames", frame_folders)):
        data = read_typed(tmp_path / "t.csv", {"label": Typed("label", "action")}, column, opens)
        assert len(data.splits["test"].items[0]) == 8


def test_videos_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = video(tmp_path / "a.mp4").read_bytes()
    not_a_picture(tmp_path / "words.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.mp4\n")
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {tmp_path}/a.mp4\n")
    for name in ("words.mp4", "cut.mp4", "empty.mp4", "list.m3u8", "list.ffconcat"):
        with pytest.raises(UnreadableItem, match=name):
            read_video(tmp_path / name)
    with pytest.raises(UnreadableItem, match="no such file"):
        read_video(f"concat:{tmp_path}/a.mp4")
    with pytest.raises(UnreadableItem, match="64 x 48 pixels"):
        read_video(tmp_path / "a.mp4", max_pixels=1000)
    monkeypatch.setattr(clips, "MAX_FRAMES", 5)
    with pytest.raises(UnreadableItem, match="more than 5 frames"):
        read_video(tmp_path / "a.mp4")


def test_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="got 0"):
        FrameFolders([], frames=0)
    with pytest.raises(DataError, match="no frames"):
        middles(0, 4)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"\.\[video\]"):
        Videos(["a.mp4"])
