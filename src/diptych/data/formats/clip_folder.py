"""Folders of clips: videos, and folders of frames, in class folders or not, with or without split folders above."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych.core import Table
from diptych.data.format import FRAMES, Format
from diptych.data.formats.clips import Clip, FrameFolders, Videos
from diptych.data.formats.item_folders import ItemKind, by_folders, visible
from diptych.data.images import SUFFIXES as PICTURES
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.named_sets import located
from diptych.data.skipped import VIDEOS


@dataclass(frozen=True)
class ClipFiles:
    """Videos and folders of frames, mixed, as clips; see ``Videos`` and ``FrameFolders``.

    Args:
        paths: N files and folders.
        frames: pictures an item, T.
    """

    paths: Sequence[str]
    frames: int = FRAMES
    keys: FileKeys | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(os.fspath(p) for p in self.paths))
        object.__setattr__(self, "_parts", (FrameFolders(self.paths, self.frames, self.keys),))
        if any(is_video(p) for p in self.paths):
            object.__setattr__(
                self, "_parts", (*self.__dict__["_parts"], Videos(self.paths, self.frames, keys=self.keys))
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Clip:
        return self._part(index)[index]

    def key(self, index: int, /) -> str:
        """Return the key of the video, or of the frames.

        Raises:
            UnreadableItem: there are none.
        """
        return self._part(index).key(index)

    def name(self, index: int, /) -> str:
        """Return the path."""
        return self.paths[index]

    def _part(self, index: int) -> FrameFolders | Videos:
        part: FrameFolders | Videos = self.__dict__["_parts"][int(is_video(self.paths[index]))]
        return part


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEOS


def holds_clips(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a video, or a folder whose first picture or video is a video.

    A folder of pictures may have photos or frames.
    """
    if is_video(path):
        return True
    for here, folders, files in os.walk(located(path)):
        folders.sort()
        for name in sorted(files):
            if not name.startswith((".", "__")) and Path(here, name).suffix.lower() in VIDEOS | set(PICTURES):
                return is_video(name)
    return False


def read_clips(root: Path, frames: int = FRAMES, keys: FileKeys | None = None) -> LabelledData:
    """Read clips.

    Args:
        root: a clip, which is a video or a folder with pictures directly in it; or a folder of clips with the layout of
            ``class_folder``: ``root/train/wave/CLIP``, ``root/wave/CLIP`` or ``root/CLIP``.
        frames: pictures an item, T.
        keys: cache of content keys.

    Returns:
        Its splits; classes are the folder names, sorted, () without class folders.

    Raises:
        DataError: there is no clip, or clips lie beside class folders.
        MissingExtra: a video, and PyAV is not installed.
    """
    if is_clip(root):
        return LabelledData(root.stem, (), {"test": Table(ClipFiles([str(root)], frames, keys))})
    return by_folders(root, is_clip, lambda paths: ClipFiles(paths, frames, keys), _KIND)


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a video, or a folder with pictures directly in it."""
    if not Path(path).is_dir():
        return is_video(path)
    return any(p.is_file() and p.suffix.lower() in PICTURES for p in visible(Path(path)))


_KIND = ItemKind("clip", "a folder of videos, or of folders that hold the frames of a clip each")

CLIPS = Format(
    f"a video ({', '.join(sorted(VIDEOS))}) or a folder of clips",
    lambda path, request: path.is_dir() or (path.exists() and is_video(path)),
    lambda path, request: read_clips(path, request.frames, request.keys),
    frozenset(("clips",)),
)
