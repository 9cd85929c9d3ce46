"""Data formats: which paths one matches, which needs it meets, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from diptych.core import DataError
from diptych.data.headings import heading_of
from diptych.data.keys import FileKeys
from diptych.data.named_sets import absent

Need = Literal[
    "any", "photos", "classes", "captions", "captions or classes", "groups", "masks", "anomalies", "clips", "clouds",
    "curves", "check", "texts",
]  # fmt: skip
"""What a verb needs of data.

- "any": all content, with labels where there are some.
- "photos": the same, but classes may be missing.
- "check": the same, with empty classes.
- "classes": at least two classes, to measure on.
- All others: items with that column, or of that kind.
"""
PICTURES: frozenset[Need] = frozenset(("any", "photos", "classes", "captions or classes", "check"))
"""Needs that pictures meet, with or without labels."""
FRAMES = 8
"""Default number of frames of a clip."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Request:
    """A request for data: what is needed, and the names of columns.

    Args:
        image, text, label, group: names of columns of a table; "" uses the usual names. ``text`` may be a pattern such
            as "caption_*".
        shares: weight of each column of ``text``, by which one of their captions is drawn; (): all are equal.
        frames: pictures per clip.
        void: ignored values of masks, besides those that the data declare.
        empty: whether a row may lack the captions that are needed.
    """

    need: Need = "any"
    keys: FileKeys | None = None
    image: str = ""
    text: str = ""
    label: str = ""
    group: str = ""
    frames: int = FRAMES
    void: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    empty: bool = False


@dataclass(frozen=True)
class Format(Generic[T_co]):
    """One format.

    Args:
        name: name for users, in the error that lists formats; "" for a layout of another format.
        matches: whether a path has the format; called only where ``gives`` includes the need.
    """

    name: str
    matches: Callable[[Path, Request], bool]
    read: Callable[[Path, Request], T_co]
    gives: frozenset[Need] = PICTURES


def first(formats: Sequence[Format[T_co]], path: Path, request: Request) -> T_co:
    """Read a path with the first format that meets the need and matches.

    Raises:
        UsageError: the path does not exist.
        NotAvailable: it does not exist, and is the name of a known data set.
        DataError: it has none of the formats, or is no file and no folder.
    """
    fit = [f for f in formats if request.need in f.gives]
    for each in fit:
        if each.matches(path, request):
            return each.read(path, request)
    if not path.exists():
        raise absent(path)
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is a pipe or a device, which cannot be read twice: write it to a file, and name that.")
    every = [f.name for f in fit if f.name]
    names = [name for name in every if not (path.is_file() and name.startswith("a folder"))]
    heading = heading_of(path) if names else ""
    names = names or every
    if any(", or " in name for name in names) and names[1:]:  # a list of alternatives needs a larger separator
        raise DataError(f"{path} is none of these, so give one of them: {'; '.join(names)}{heading}.")
    mismatch = f"neither {', '.join(names[:-1])} nor {names[-1]}" if names[1:] else f"not {names[0]}"
    raise DataError(f"{path} is {mismatch}: give {'one of these' if names[1:] else 'one'}{heading}.")


def files_below(path: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Yield sorted absolute paths of the files with some endings, such as ".xml", that a path is or has below it."""
    if path.is_file():
        if path.suffix.lower() in endings:
            yield os.path.abspath(path)
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        yield from (os.path.abspath(os.path.join(folder, f)) for f in sorted(files) if f.lower().endswith(endings))
