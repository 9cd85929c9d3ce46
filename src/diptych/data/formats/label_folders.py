"""Photos and label maps in folders beside each other: images/SPLIT and annotations/SPLIT, as ADE20K has them.

Values and names of the classes stand in ``objectInfo150.txt`` (tabs, with the columns Idx and Name), which that data
set brings, or in ``classes.csv``, see ``formats.semantic``. Values that are not listed, such as 0, do not count.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from diptych.core import Column, DataError, Table
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.format import Format, Request
from diptych.data.formats.regions import Masks
from diptych.data.formats.semantic import Numbered, positions, read_classes
from diptych.data.labelled import SPLIT_NAMES, LabelledData

IMAGES, MAPS, LISTED = "images", "annotations", "objectInfo150.txt"
ENDINGS = (".png", ".tif", ".tiff")
"""Of label maps; one has the name of its photo."""


def read_label_folders(root: str | Path, request: Request) -> LabelledData:
    """Read ``root/images/SPLIT`` and ``root/annotations/SPLIT``; splits are named as in ``data.labelled.SPLIT_NAMES``.

    Returns:
        Data as ``formats.semantic.read_semantic`` returns it. Names of ``objectInfo150.txt`` with commas, "building,
        edifice", are a name and its other words.

    Raises:
        DataError: no split is there, a photo has no label map, or the classes cannot be read.
    """
    folder = Path(root)
    classes = _listed(folder / LISTED) if (folder / LISTED).is_file() else read_classes(folder / "classes.csv")
    classes = replace(classes, void=classes.void | set(request.void))
    numbers, splits = classes.numbers, {}
    for place in sorted(p for p in (folder / IMAGES).iterdir() if p.is_dir() and p.name.lower() in SPLIT_NAMES):
        photos = image_paths(place)
        maps = tuple(str(_map_of(folder / MAPS / path.relative_to(folder / IMAGES), path)) for path in photos)
        if photos:
            column = Column("mask", Masks(maps, partial(positions, numbers=numbers)))
            files = ImageFiles([str(p) for p in photos], request.keys)
            splits[SPLIT_NAMES[place.name.lower()]] = Table(files, {"mask": column})
    if not splits:
        raise DataError(f"{folder / IMAGES} has no photos in folders such as training and validation: add one.")
    return classes.data(folder.name, splits)


def _map_of(beside: Path, photo: Path) -> Path:
    """Return the label map of a photo, which lies ``beside`` it but for the ending."""
    for ending in ENDINGS:
        if (path := beside.with_suffix(ending)).is_file():
            return path
    raise DataError(f"{photo} has no label map: add {beside.with_suffix(ENDINGS[0])}, or take the photo out.")


def _listed(path: Path) -> Numbered:
    """Return the classes of a table with tabs and the columns Idx and Name."""
    try:
        header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        columns = [name.strip().lower() for name in header]
        index, name = columns.index("idx"), columns.index("name")
        words = {int(cells[index]): tuple(w.strip() for w in cells[name].split(",")) for cells in lines}
    except (ValueError, IndexError, OSError):
        raise DataError(
            f"{path} needs a first line with Idx and Name, and tabs between its columns: mend it."
        ) from None
    if len(words) < len(lines) or not all(of_class[0] for of_class in words.values()):
        raise DataError(f"{path} must give each number once, with a name: mend it.")
    spoken = words if any(len(of_class) > 1 for of_class in words.values()) else {}
    return Numbered(path, {n: of_class[0] for n, of_class in words.items()}, words=spoken)


def _matches(path: Path, request: Request) -> bool:
    return all((path / name).is_dir() for name in (IMAGES, MAPS)) and any(
        (path / name).is_file() for name in (LISTED, "classes.csv")
    )


LABEL_FOLDERS = Format(
    "a folder in ADE20K's layout (images/SPLIT, annotations/SPLIT)",
    _matches,
    read_label_folders,
    frozenset(("any", "photos", "check", "masks")),
)
"""ADE20K's layout of scene parsing."""
