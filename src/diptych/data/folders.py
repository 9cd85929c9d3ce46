"""Folders of pictures: class folders, with or without split folders above them, or photos without labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from diptych.core import DataError, Table, UsageError
from diptych.data.format import Format, Request
from diptych.data.images import MAX_PIXELS, SUFFIXES, open_image
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.memory import Packed, packed
from diptych.data.skipped import LeftOut

_BySplit = dict[str, dict[str | None, Sequence[str]]]


@dataclass(frozen=True)
class ImageFiles:
    """Image files as samples: the key is the SHA-256 of the file's bytes, the name its path.

    Args:
        paths: N files, opened only for an item or a key.
        keys: cache of content keys; None (default) caches them in this object only.
        max_pixels: largest width times height of a readable file.
    """

    paths: Sequence[str | os.PathLike[str]]
    keys: FileKeys | None = field(default=None, repr=False, compare=False)
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not isinstance(self.paths, Packed):
            object.__setattr__(self, "paths", packed(map(os.fspath, self.paths)))
        object.__setattr__(self, "_keys", FileKeys() if self.keys is None else self.keys)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Image.Image:
        return open_image(self.paths[index], max_pixels=self.max_pixels)

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the file's bytes.

        Raises:
            UnreadableItem: the file is missing or cannot be read.
        """
        keys: FileKeys = self.__dict__["_keys"]
        return keys.key(self.paths[index])

    def name(self, index: int, /) -> str:
        """Return the file's path."""
        return os.fspath(self.paths[index])


def image_paths(root: str | os.PathLike[str]) -> list[Path]:
    """Return all picture files below a folder, at any depth, sorted by path.

    Names that begin with "." or "__" are skipped.

    Raises:
        UsageError: there is no such folder.
    """
    return [Path(p) for p in image_files(root)]


def image_files(root: str | os.PathLike[str]) -> list[str]:
    """Return ``image_paths`` as text, which is ten times as fast."""
    left_out = LeftOut()
    paths = list(_walk(_folder(root), left_out=left_out))
    left_out.report(root)
    return paths


def tar_files(root: str | os.PathLike[str]) -> list[str]:
    """Return all .tar files below a folder, as ``image_files`` walks it."""
    return list(_walk(_folder(root), _is_tar))


def class_folder(
    root: str | os.PathLike[str], keys: FileKeys | None = None, *, allow_empty: bool = False
) -> LabelledData:
    """Read a folder of class folders.

    Three layouts, chosen by the names directly below ``root``:

    - ``root/train/cat/1.jpg``: split folders (train, val | valid | validation, test). Other folders beside them are
      skipped.
    - ``root/cat/1.jpg``: class folders. All items are the split "test".
    - ``root/1.jpg``: photos without labels, also the split "test". A split folder may also have photos only.

    Args:
        root: the folder.
        keys: cache of content keys.
        allow_empty: whether classes may have no picture in any split (default False).

    Returns:
        Data whose classes are the folder names, sorted, over all splits.

    Raises:
        UsageError: ``root`` is no folder.
        DataError: no picture at all, a class without pictures, pictures beside class folders, duplicate or missing
            split folders, or folders with the same subfolders, as of domains with the same classes.
    """
    left_out = LeftOut()
    data = _class_folder(_folder(root), keys, allow_empty, left_out)
    left_out.report(root)
    return data


def _class_folder(base: Path, keys: FileKeys | None, allow_empty: bool, left_out: LeftOut) -> LabelledData:
    split_folders: dict[str, Path] = {}
    for child in _visible(base):
        name = SPLIT_NAMES.get(child.name.lower()) if _is_folder(child) else None
        if name is not None:
            if name in split_folders:
                raise DataError(
                    f"{base} holds both {split_folders[name].name} and {child.name}, which are one split: "
                    "remove or merge one."
                )
            split_folders[name] = Path(child.path)
    if not split_folders:
        split_folders = {"test": base}
    pictures = {name: _classes_of(split_folders[name], left_out) for name in SPLITS if name in split_folders}
    classes = tuple(sorted({c for by_class in pictures.values() for c in by_class if c is not None}))
    _refuse_empty(base, pictures, classes, allow_empty, str(left_out))
    splits = {}
    for name, by_class in pictures.items():
        ordered = sorted(by_class.items(), key=lambda pair: pair[0] or "")
        items = ImageFiles(packed(path for _, paths in ordered for path in paths), keys)
        labels = [c for c, paths in ordered if c is not None for _ in range(len(paths))]
        splits[name] = Table(items, {"label": label_column(labels, classes)} if labels else {})
    return LabelledData(base.resolve().name, classes, splits)


def has_class_folders(root: Path) -> bool:
    """Return whether a folder has split folders, or at least two class folders that are no domains."""
    folders = [c for c in _visible(root) if _is_folder(c)]
    if any(c.name.lower() in SPLIT_NAMES for c in folders):
        return True
    nonempty = [c for c in folders if next(_walk(c.path), None)]
    return len(nonempty) > 1 and not _domains(nonempty)


def photo_folder(root: Path, keys: FileKeys | None = None) -> LabelledData:
    """Read the photos of a folder, as ``class_folder`` where that is possible.

    Otherwise all pictures at any depth are the split "test", without labels.

    Raises:
        UsageError: ``root`` is no folder.
        DataError: no picture at all.
    """
    left_out, below = LeftOut(), LeftOut()
    paths = packed(_walk(_folder(root), left_out=left_out))
    try:
        data = _class_folder(root, keys, False, below)
        if data.classes or sum(len(t) for t in data.splits.values()) == len(paths):
            below.report(root)
            return data
    except DataError:
        if not paths:
            raise
    left_out.report(root)
    return LabelledData(root.resolve().name, (), {"test": Table(ImageFiles(paths, keys))})


def _read(path: Path, request: Request) -> LabelledData:
    return (
        photo_folder(path, request.keys)
        if request.need == "photos"
        else class_folder(path, keys=request.keys, allow_empty=request.need == "check")
    )


def _read_picture(path: Path, request: Request) -> LabelledData:
    return LabelledData(path.stem, (), {"test": Table(ImageFiles([path], request.keys))})


FOLDER = Format("a folder", lambda path, request: path.is_dir(), _read)
PICTURE = Format("a picture", lambda path, request: path.is_file() and path.suffix.lower() in SUFFIXES, _read_picture)


def _refuse_empty(base: Path, pictures: _BySplit, classes: tuple[str, ...], allow_empty: bool, left_out: str) -> None:
    if not any(paths for by_class in pictures.values() for paths in by_class.values()) and not (
        allow_empty and classes
    ):
        kinds = " ".join(sorted(s.lstrip(".") for s in SUFFIXES - {".heic", ".heif"}))
        remedy = f"give a folder that holds files of the kinds {kinds}"
        if (base / "dataset_info.json").is_file():
            remedy = "it is a saved dataset of Hugging Face, so write it with its to_parquet, and give that file"
        elif tables := sorted(path for kind in (".parquet", ".csv", ".tsv") for path in base.glob(f"*{kind}")):
            remedy = f"give a table in it, such as {tables[0]}; a training reads all as a stream"
        there = f", only {left_out}" if left_out else ""
        raise DataError(f"No pictures below {base}{there}: {remedy}.")
    empty = [c for c in classes if not any(by_class.get(c) for by_class in pictures.values())]
    if empty and not allow_empty:
        raise DataError(f"No pictures of {', '.join(empty)} below {base}: add some, or remove the empty class folder.")


def _classes_of(folder: Path, left_out: LeftOut) -> dict[str | None, Sequence[str]]:
    """Return class -> pictures of one split; the key None is pictures without label."""
    children = _visible(folder)
    files = [c for c in children if _leads_to_file(c)]
    photos = [c.path for c in files if _is_picture(c.name)]
    for c in files:
        if not _is_picture(c.name):
            left_out.add(c.name)
    folders: dict[str | None, Sequence[str]] = {
        c.name: Packed(_walk(c.path, left_out=left_out)) for c in children if _is_folder(c)
    }
    if photos and any(folders.values()):
        raise DataError(f"{photos[0]} lies beside the class folders of {folder}: move it into one of them, or out.")
    subfolders = [c for c in children if _is_folder(c)]
    if names := _domains(subfolders):
        raise DataError(
            f"Every folder of {folder} holds the folders {', '.join(names[:3])} ...: these look like domains of the "
            f"same classes; give one of them, such as {folder / subfolders[0].name}."
        )
    return {None: photos} if photos else folders


def _domains(folders: Sequence[os.DirEntry[str]]) -> list[str]:
    """Return the subfolders of several folders where all have the same ones and no pictures; else []."""
    below = [_folders_alone(f.path) for f in folders]
    return below[0] if len(below) > 1 and len(below[0]) > 1 and all(names == below[0] for names in below) else []


def _folders_alone(folder: str) -> list[str]:
    """Return the names of the subfolders of a folder; [] where it has pictures."""
    children = _visible(Path(folder))
    return (
        []
        if any(_leads_to_file(c) and _is_picture(c.name) for c in children)
        else [c.name for c in children if _is_folder(c)]
    )


def _folder(root: str | os.PathLike[str]) -> Path:
    path = Path(root)
    if path.is_file():
        raise UsageError(f"{path} is a file: give the folder that holds the pictures.")
    if not path.is_dir():
        raise UsageError(f"There is no folder {path}: check the spelling, or give an absolute path.")
    return path


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not _hidden(e.name)), key=lambda e: e.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file, or a broken link, which raises when it is read."""
    try:
        return entry.is_file()
    except OSError:
        return True


def _walk(
    folder: str | Path, wanted: Callable[[str], bool] | None = None, left_out: LeftOut | None = None
) -> Iterator[str]:
    wanted = _is_picture if wanted is None else wanted
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not _hidden(f))
        for name in sorted(files):
            if wanted(name):
                yield os.path.join(here, name)
            elif left_out is not None:
                left_out.add(name)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _is_tar(name: str) -> bool:
    return not _hidden(name) and os.path.splitext(name)[1].lower() == ".tar"


def _is_picture(name: str) -> bool:
    return not _hidden(name) and os.path.splitext(name)[1].lower() in SUFFIXES
