"""Folders of point clouds and meshes, in class folders or not, with or without split folders above."""

from __future__ import annotations

import os
from pathlib import Path

from diptych.core import Table
from diptych.data.format import Format
from diptych.data.formats.item_folders import ItemKind, by_folders
from diptych.data.formats.points import SUFFIXES, Clouds
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.named_sets import located

SURE = SUFFIXES - {".npy", ".txt"}
"""Suffixes of files that are nothing else: folders of others may hold arrays and texts."""
_KIND = ItemKind("cloud", f"a folder of files that end in {', '.join(sorted(SUFFIXES))}")


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
    return by_folders(root, is_cloud, lambda paths: Clouds(paths, keys=keys), _KIND)


CLOUDS = Format(
    f"a point cloud or mesh ({', '.join(sorted(SUFFIXES))}) or a folder of them",
    lambda path, request: path.is_dir() or is_cloud(path),
    lambda path, request: read_clouds(path, request.keys),
    frozenset(("clouds",)),
)
