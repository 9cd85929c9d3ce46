"""Clips: folders of frames, and videos, as a fixed number of pictures each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.core import DataError, Samples, UnreadableItem, UsageError
from diptych.core.errors import need_extra
from diptych.data.folders import image_paths
from diptych.data.images import MAX_PIXELS, open_image
from diptych.data.inside import all_inside
from diptych.data.keys import FileKeys, KeyedFiles

Clip = tuple[Image.Image, ...]
MAX_FRAMES = 100_000
"""Largest number of frames of a video, about an hour."""


def middles(count: int, frames: int) -> list[int]:
    """Return the middle frame of each of T equal segments of a clip.

    Args:
        count: number of frames N, from 1.
        frames: T; where it exceeds N, frames occur more than once.

    Returns:
        T positions, ascending.

    Raises:
        DataError: there is no frame.

    Source: Temporal Segment Networks (ECCV 2016), section 3.1; the test-time rule of ViFi-CLIP and ILA.
    """
    if count < 1:
        raise DataError("A clip has no frames: leave it out.")
    return [min(count - 1, (2 * k + 1) * count // (2 * frames)) for k in range(frames)]


@dataclass(frozen=True)
class OneFrame:
    """Pictures as clips of one frame.

    Args:
        pictures: N pictures.
    """

    pictures: Samples[Image.Image]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> Clip:
        return (self.pictures[index],)

    def key(self, index: int, /) -> str:
        """Return the hash of the picture's key."""
        return hashlib.sha256(f"{self.pictures.key(index)}/one frame".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the picture."""
        return self.pictures.name(index)


@dataclass(frozen=True)
class FrameFolders(KeyedFiles):
    """Folders of pictures as clips.

    An item is a tuple of ``frames`` upright RGB pictures, the segment middles of the files sorted by name.

    Args:
        paths: N folders.
        frames: pictures per item, T.
    """

    paths: Sequence[str]
    frames: int = 8
    keys: FileKeys | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self.frames)
        super().__post_init__()

    def __getitem__(self, index: int, /) -> Clip:
        opened = {path: open_image(path) for path in dict.fromkeys(self._frames(index))}
        return tuple(opened[path] for path in self._frames(index))

    def key(self, index: int, /) -> str:
        """Return the hash of the frames' keys.

        Raises:
            UnreadableItem: there are no frames.
        """
        keys: FileKeys = self.__dict__["_keys"]
        return hashlib.sha256("/".join(keys.keys_of(self._frames(index))).encode()).hexdigest()

    def _frames(self, index: int) -> list[Path]:
        folder = self.paths[index]
        try:
            paths = [p for p in image_paths(folder) if p.parent == Path(folder)]
        except UsageError:
            raise UnreadableItem(folder, "no such folder") from None
        if not paths:
            raise UnreadableItem(folder, "no pictures in it")
        return [paths[i] for i in middles(len(paths), self.frames)]


@dataclass(frozen=True)
class Videos(KeyedFiles):
    """Video files as clips, with the extra "video".

    An item is a tuple of ``frames`` upright RGB pictures, the segment middles.

    Args:
        paths: N files.
        frames: pictures per item, T.
        max_pixels: largest number of pixels of a frame.

    Raises:
        MissingExtra: PyAV is not installed.
    """

    paths: Sequence[str]
    frames: int = 8
    max_pixels: int = MAX_PIXELS
    keys: FileKeys | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self.frames)
        _av()
        super().__post_init__()

    def __getitem__(self, index: int, /) -> Clip:
        return read_video(self.paths[index], self.frames, self.max_pixels)

    def key(self, index: int, /) -> str:
        """Return the hash of the file's key and the number of frames.

        Raises:
            UnreadableItem: the file is missing.
        """
        keys: FileKeys = self.__dict__["_keys"]
        return hashlib.sha256(f"{keys.key(self.paths[index])}/{self.frames}".encode()).hexdigest()


def read_video(path: str | os.PathLike[str], frames: int = 8, max_pixels: int = MAX_PIXELS) -> Clip:
    """Return the middles of ``frames`` segments of a local video that FFmpeg reads, of at most ``max_pixels`` a frame.

    It is decoded twice, to count frames and to read them, since lengths in headers are often wrong.

    Raises:
        MissingExtra: PyAV is not installed.
        UnreadableItem: no such file, no video, damaged, too large, or more than 100,000 frames.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise UnreadableItem(name, "no such file")
    count = sum(1 for _ in _decoded(name, max_pixels))
    if not count:
        raise UnreadableItem(name, "no frames in it")
    wanted = middles(count, frames)
    again = islice(_decoded(name, max_pixels), wanted[-1] + 1)
    pictures = {i: _upright(frame) for i, frame in enumerate(again) if i in wanted}
    return tuple(pictures[i] for i in wanted)


def _decoded(name: str, max_pixels: int) -> Iterator[Any]:
    av = _av()
    try:
        # Opened here: with a name such as "concat:..." or a playlist, FFmpeg would open other files and addresses.
        with open(name, "rb") as file, av.open(file, options={"protocol_whitelist": ""}) as container:
            if not container.streams.video:
                raise UnreadableItem(name, "no picture track in it")
            for number, frame in enumerate(container.decode(video=0)):
                if frame.width * frame.height > max_pixels:
                    raise UnreadableItem(
                        name, f"{frame.width:,} x {frame.height:,} pixels, more than the limit of {max_pixels:,}"
                    )
                if number >= MAX_FRAMES:
                    raise UnreadableItem(name, f"more than {MAX_FRAMES:,} frames: cut it")
                yield frame
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnreadableItem(name, f"damaged, or no video ({str(error)[:80]})") from None


def _upright(frame: Any) -> Image.Image:
    image: Image.Image = frame.to_image()
    turn = int(getattr(frame, "rotation", 0))
    return image.rotate(turn, expand=True) if turn else image


def _check(frames: int) -> None:
    if frames < 1:
        raise UsageError(f"frames must be at least 1 a clip, got {frames}.")


def _av() -> Any:
    need_extra("video", "Reading videos")
    import av

    return av


def frame_folders(folder: str, cells: Sequence[str]) -> Samples[Clip]:
    """Open the cells of a table as folders of frames, for ``read_typed``."""
    return FrameFolders(all_inside(folder, cells))


def videos(folder: str, cells: Sequence[str]) -> Samples[Clip]:
    """Open the cells of a table as videos, for ``read_typed``."""
    return Videos(all_inside(folder, cells))
