"""What a format of data states: what it matches, what it gives, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from diptych.core.errors import NotAvailable, UsageError
from diptych.data.keys import FileKeys

Need = Literal[
    "any",
    "photos",
    "classes",
    "captions",
    "captions or classes",
    "groups",
    "masks",
    "anomalies",
    "clips",
    "curves",
    "check",
    "texts",
]
"""What a verb needs of data.

- "any": what the place holds, labels where there are some; "photos": the same, but classes may be missing;
- "check": the same, but empty classes stay; "classes": two at least, to measure on;
- all others: items with that column, or of that kind.
"""
PICTURES: frozenset[Need] = frozenset(("any", "photos", "classes", "captions or classes", "check"))
"""Needs that pictures meet, with labels or without."""
MEASURED: frozenset[Need] = frozenset(("classes", "masks", "anomalies"))
"""Needs of what is measured on: an absent data set is not available there, as a development set may be."""
FRAMES = 8
"""Frames a clip that are looked at where nothing else is said."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Ask:
    """What is asked of data.

    Args:
        need: what a verb needs.
        keys: remembers content keys.
        image, text, label, group: columns of a table that the user names; "" finds them by their usual names. ``text``
            may be a pattern such as "caption_*".
        frames: pictures a clip.
        void: values of masks that name no class, besides those that the data themselves call void.
    """

    need: Need = "any"
    keys: FileKeys | None = None
    image: str = ""
    text: str = ""
    label: str = ""
    group: str = ""
    frames: int = FRAMES
    void: tuple[int, ...] = ()


@dataclass(frozen=True)
class Format(Generic[T_co]):
    """One format.

    Args:
        name: what a user calls it, for the error that lists what may be given; "" for a layout of another.
        matches: whether a path holds it; only asked where ``gives`` holds what is needed.
        read: reads it.
        gives: needs that it meets.
    """

    name: str
    matches: Callable[[Path, Ask], bool]
    read: Callable[[Path, Ask], T_co]
    gives: frozenset[Need] = PICTURES


def first(formats: Sequence[Format[T_co]], path: Path, ask: Ask) -> T_co:
    """Read a path by the first format that gives what is needed and matches.

    Raises:
        UsageError: nothing is there, or nothing that any of them reads.
        NotAvailable: nothing is there, and it would be measured on.
    """
    fit = [f for f in formats if ask.need in f.gives]
    for each in fit:
        if each.matches(path, ask):
            return each.read(path, ask)
    if not path.exists() and ask.need in MEASURED:
        raise NotAvailable(
            f"The data set {path} is not here: set DIPTYCH_DATA to the folder that holds it, or give a path."
        )
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}: check the spelling, or try demo:photos or demo:clothes.")
    names = [f.name for f in fit if f.name]
    told = f"neither {', '.join(names[:-1])} nor {names[-1]}" if names[1:] else f"not {names[0]}"
    raise UsageError(f"{path} is {told}: give {'one of these' if names[1:] else 'one'}.")
