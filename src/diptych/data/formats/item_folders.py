"""Folders of clips or point clouds: in class folders or not, with or without split folders above.

A clip is a video, or a folder of frames; a cloud is a file of points or a mesh.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.core import DataError, Samples, Table
from diptych.data.format import FRAMES, Format
from diptych.data.formats.clips import Clip, FrameFolders, Videos
from diptych.data.formats.points import SUFFIXES, Clouds
from diptych.data.images import SUFFIXES as PICTURES
from diptych.data.keys import FileKeys, KeyedFiles
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.named_sets import located
from diptych.data.skipped import VIDEOS


@dataclass(frozen=True)
class ItemKind:
    """What the items are called in errors.

    Args:
        name: of one item, whose plural ends in s.
    """

    name: str
    remedy: str


def by_folders(
    root: Path, is_item: Callable[[Path], bool], samples: Callable[[list[str]], Samples[Any]], kind: ItemKind
) -> LabelledData:
    """Read items in the layout of ``class_folder``: ``root/train/CLASS/ITEM``, ``root/CLASS/ITEM`` or ``root/ITEM``.

    Returns:
        Its splits; classes are the folder names, sorted, () without class folders.

    Raises:
        DataError: there is no item, or items lie beside class folders.
    """
    parts = {
        SPLIT_NAMES[p.name.lower()]: p
        for p in visible(root)
        if p.is_dir() and p.name.lower() in SPLIT_NAMES and not is_item(p)
    }
    items_of = {split: _by_class(folder, is_item, kind) for split, folder in (parts or {"test": root}).items()}
    classes = tuple(sorted({c for by_class in items_of.values() for c in by_class if c is not None}))
    if not any(items for by_class in items_of.values() for items in by_class.values()):
        raise DataError(f"No {kind.name}s below {root}: give {kind.remedy}.")
    splits = {}
    for split in (s for s in SPLITS if s in items_of):
        pairs = [
            (item, c) for c, items in sorted(items_of[split].items(), key=lambda pair: pair[0] or "") for item in items
        ]
        labels = [c for _, c in pairs if c is not None]
        opened = samples([item for item, _ in pairs])
        splits[split] = Table(opened, {"label": label_column(labels, classes)} if labels else {})
    return LabelledData(root.resolve().name, classes, splits)


def visible(folder: Path) -> list[Path]:
    """Return the sorted paths in a folder, without hidden ones."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__")))


def _by_class(folder: Path, is_item: Callable[[Path], bool], kind: ItemKind) -> dict[str | None, list[str]]:
    """Return class -> items; the key None is items without label."""
    items = [str(p) for p in visible(folder) if is_item(p)]
    folders: dict[str | None, list[str]] = {
        p.name: [str(c) for c in visible(p) if is_item(c)] for p in visible(folder) if p.is_dir() and not is_item(p)
    }
    if items and any(folders.values()):
        raise DataError(f"{items[0]} lies beside the class folders of {folder}: move it into one of them, or out.")
    if not items and (empty := [c for c, members in folders.items() if not members]):
        raise DataError(f"No {kind.name}s of {empty[0]} below {folder}: add some, or remove the empty class folder.")
    return {None: items} if items else folders


SURE = SUFFIXES - {".npy", ".txt"}
"""Suffixes of files that are nothing else: folders of others may hold arrays and texts."""
_CLOUD = ItemKind("cloud", f"a folder of files that end in {', '.join(sorted(SUFFIXES))}")


def is_cloud(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file with the suffix of a point cloud or a mesh."""
    return Path(path).suffix.lower() in SUFFIXES and not Path(path).is_dir()


def holds_clouds(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a point cloud or a mesh, or a folder whose first file is one; .npy and .txt count as
    clouds where they are named themselves alone.
    """
    if is_cloud(path):
        return Path(path).suffix.lower() != ".txt"
    for _, folders, files in os.walk(located(path)):
        folders.sort()
        names = sorted(n for n in files if not n.startswith((".", "__")))
        if names:
            return Path(names[0]).suffix.lower() in SURE
    return False


def read_clouds(root: Path, keys: FileKeys | None = None) -> LabelledData:
    """Read point clouds and meshes from a file, or a folder with the layout of ``class_folder``:
    ``root/train/chair/CLOUD``, ``root/chair/CLOUD`` or ``root/CLOUD``.

    Returns:
        Its splits; classes are the folder names, sorted, () without class folders.

    Raises:
        DataError: there is no cloud, or clouds lie beside class folders.
    """
    if is_cloud(root):
        return LabelledData(root.stem, (), {"test": Table(Clouds([str(root)], keys=keys))})
    return by_folders(root, is_cloud, lambda paths: Clouds(paths, keys=keys), _CLOUD)


CLOUDS = Format(
    f"a point cloud or mesh ({', '.join(sorted(SUFFIXES))}) or a folder of them",
    lambda path, request: path.is_dir() or is_cloud(path),
    lambda path, request: read_clouds(path, request.keys),
    frozenset(("clouds",)),
)


@dataclass(frozen=True)
class ClipFiles(KeyedFiles):
    """Videos and folders of frames, mixed, as clips; see ``Videos`` and ``FrameFolders``.

    Args:
        paths: N files and folders.
        frames: pictures per item, T.
    """

    paths: Sequence[str]
    frames: int = FRAMES
    keys: FileKeys | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_parts", (FrameFolders(self.paths, self.frames, self.keys),))
        if any(is_video(p) for p in self.paths):
            object.__setattr__(
                self, "_parts", (*self.__dict__["_parts"], Videos(self.paths, self.frames, keys=self.keys))
            )

    def __getitem__(self, index: int, /) -> Clip:
        return self._part(index)[index]

    def key(self, index: int, /) -> str:
        """Return the key of the video, or of the frames.

        Raises:
            UnreadableItem: there are none.
        """
        return self._part(index).key(index)

    def _part(self, index: int) -> FrameFolders | Videos:
        part: FrameFolders | Videos = self.__dict__["_parts"][int(is_video(self.paths[index]))]
        return part


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEOS


def holds_clips(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a video, or a folder of videos.

    Frames lie one folder deeper than the videos beside their folder. A picture as high as a video, or higher, is thus a
    photo, and its folder one of photos with videos among them, as a camera writes it. A folder of pictures may have
    photos or frames.
    """
    if is_video(path):
        return True
    root, level = located(path), None
    for here, folders, files in os.walk(root):
        folders.sort()
        deep = len(Path(here).relative_to(root).parts)
        suffixes = {Path(name).suffix.lower() for name in files if not name.startswith((".", "__"))}
        if suffixes & set(PICTURES) and (level is None or deep <= level):
            return False
        if suffixes & VIDEOS and level is None:
            level = deep
    return level is not None


def read_clips(root: Path, frames: int = FRAMES, keys: FileKeys | None = None) -> LabelledData:
    """Read clips.

    Args:
        root: a clip, which is a video or a folder with pictures directly in it; or a folder of clips with the layout of
            ``class_folder``: ``root/train/wave/CLIP``, ``root/wave/CLIP`` or ``root/CLIP``.
        frames: pictures per item, T.
        keys: cache of content keys.

    Returns:
        Its splits; classes are the folder names, sorted, () without class folders.

    Raises:
        DataError: there is no clip, or clips lie beside class folders.
        MissingExtra: a video, and PyAV is not installed.
    """
    if is_clip(root):
        return LabelledData(root.stem, (), {"test": Table(ClipFiles([str(root)], frames, keys))})
    return by_folders(root, is_clip, lambda paths: ClipFiles(paths, frames, keys), _CLIP)


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a video, or a folder with pictures directly in it."""
    if not Path(path).is_dir():
        return is_video(path)
    return any(p.is_file() and p.suffix.lower() in PICTURES for p in visible(Path(path)))


_CLIP = ItemKind("clip", "a folder of videos, or of folders that hold the frames of a clip each")

CLIPS = Format(
    f"a video ({', '.join(sorted(VIDEOS))}) or a folder of clips",
    lambda path, request: path.is_dir() or (path.exists() and is_video(path)),
    lambda path, request: read_clips(path, request.frames, request.keys),
    frozenset(("clips",)),
)
