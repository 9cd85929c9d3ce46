"""Copies of classified photos, sorted into a folder for each class."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import UsageError
from diptych.core.wording import number_of
from diptych.data.files import drafted, try_to_write
from diptych.verbs.photos import paths_of

if TYPE_CHECKING:
    from diptych.tasks.classified import Prediction

UNSURE = "unsure"
"""Folder of photos without a class above the threshold, and of those that a calibrated classifier calls unknown."""
_NO_FILE_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def check_sorting(photos: Any, folder: Path) -> None:
    """Refuse copies of what is no file, and a folder among the photos, which the next call would classify too.

    Raises:
        UsageError: it is one of these, or nothing can be written there.
    """
    paths = paths_of(photos)
    if paths is None:
        raise UsageError("{sort_into} copies files: give {photos} as paths, or leave it out.")
    target = os.path.realpath(folder)
    for path in map(os.path.realpath, paths):
        if os.path.isdir(path) and os.path.commonpath([path, target]) == path:
            raise UsageError(
                f"{folder} lies in {path}, whose photos are sorted: give {{sort_into}} a folder elsewhere."
            )
    if reason := try_to_write(folder):
        raise UsageError(f"{folder} cannot be written ({reason}): give {{sort_into}} another folder.")


def sort_photos(predictions: Sequence[Prediction], folder: Path, *, overwrite: bool = False) -> str:
    """Copy each photo into the folder of its class, with its dates; the photos themselves stay where they are.

    Of two photos of one name in a class the second one gets " (2)" behind its name. The names depend on the predictions
    alone: the same call with ``overwrite``, after an interruption, replaces the copies that it finds and adds the rest.

    Args:
        predictions: of photos that lie in files; others are left out and counted.
        folder: it is made; so is one for each class that has a photo.
        overwrite: whether copies of an earlier call may be replaced.

    Returns:
        A sentence that says how many photos lie where.

    Raises:
        UsageError: none of them lies in a file.
        KeyboardInterrupt: Ctrl-C; it says how many photos are copied, each of them whole, and how to go on.
    """
    files = [p for p in predictions if os.path.isfile(p.name)]
    if predictions and not files:
        raise UsageError(f"{{sort_into}} copies files, and {predictions[0].name} is none: leave {{sort_into}} out.")
    counts: dict[str, int] = {}
    taken: set[str] = set()
    try:
        for item in files:
            kind = UNSURE if item.unknown or not item.top else folder_name(item.label)
            copy = folder / _free(kind, Path(item.name).name, taken)
            with drafted(copy, overwrite=overwrite, sync=False) as draft:
                shutil.copy2(item.name, draft)
            counts[kind] = counts.get(kind, 0) + 1
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupted(sum(counts.values()), len(files), folder)) from None
    by_class = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    rest = len(predictions) - len(files)
    return f"{number_of(len(files), 'photo')} copied into {folder}: {by_class}" + (
        f"; {rest} are no files" if rest else ""
    )


def _interrupted(copied: int, total: int, folder: Path) -> str:
    """Return what an interruption says: a folder that is there stands in the way of the same command."""
    again = f"the same command {'with {overwrite} ' if folder.exists() else ''}copies all of them"
    return f"Interrupted: {copied:,} of {number_of(total, 'photo is', 'photos are')} copied into {folder}; {again}."


def folder_name(label: str) -> str:
    """Return the name of the folder of a class, which every file system takes.

    Example:
        >>> folder_name("cup / mug?"), folder_name("con")
        ('cup _ mug_', 'con_')
    """
    name = _NO_FILE_NAME.sub("_", label).strip(" .")[:100] or "_"
    return f"{name}_" if _DEVICES.match(name) else name


def _free(kind: str, name: str, taken: set[str]) -> str:
    """Return the path of a copy that no other photo of this call has, on file systems that ignore case too."""
    stem, suffix = os.path.splitext(name)
    for path in _numbered(kind, stem, suffix):
        if path.casefold() not in taken:
            taken.add(path.casefold())
            return path
    raise AssertionError  # there is always a next number


def _numbered(kind: str, stem: str, suffix: str) -> Iterable[str]:
    yield os.path.join(kind, f"{stem}{suffix}")
    number = 2
    while True:
        yield os.path.join(kind, f"{stem} ({number}){suffix}")
        number += 1
