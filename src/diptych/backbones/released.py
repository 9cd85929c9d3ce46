"""Files that authors have released: tables of what such a file does not state, and of how its tensors are called here.

``released_names`` translates the names, and ``released_checks`` says which tensors have no place.

Each table is ``assets/released/SLUG.toml``, named after its system, with the repository and commit in which the facts
were read. Nothing in a table was tried on a released file itself unless its note says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from diptych.core import Change, UsageError
from diptych.core.plain import build

TABLES = Path(__file__).parents[1] / "assets" / "released"


@dataclass(frozen=True)
class Released:
    """One released file, or several of one kind, and what such a file does not state.

    Args:
        name: by which it is asked for ("NAME?released=long-clip-l").
        files: names of the files, as the authors give them.
        note: what a user should know.
        unread: why it cannot be read here; "" where it can.
        architecture: open_clip's name of the model; "" where it is not a complete CLIP.
        activation: "gelu" or "quick_gelu"; of what is not a complete CLIP, that of the backbone that it needs. "": any.
        pixels: pixel recipe, see ``PixelRecipe``; None: the table's.
        model: what differs from the architecture's ``model_cfg``.
        changes: of the architecture after that, see ``backbones.changes``: each its kind and its settings.
        halved: whether the authors' own loader rounds the weights of its linear and convolution layers to float16.
        settings: of the system that reads the file.
        adds: our name -> a number that the file lacks and the system holds as a tensor.
        beside: our name -> name of the .npy file, in the folder of the weights, that holds this tensor; or, with a "*",
            of the torch file that holds it alone.
        words: setting -> name of a file of "number,word" lines; where it lies in that folder, the setting is its words.
        template: prompt of a class with one "{}", where the file is a space of other samples than photos; of a
            segmenter the name of a set of them.
        classes: names of a classifier's classes, in the authors' order; (): the file's user gives them.
    """

    name: str
    files: tuple[str, ...] = ()
    note: str = ""
    unread: str = ""
    architecture: str = ""
    activation: str = ""
    pixels: Mapping[str, Any] | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()
    halved: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    adds: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    classes: tuple[str, ...] = ()

    def architecture_changes(self) -> tuple[Change, ...]:
        """Return the changes, as ``backbones.changes`` applies them; "None" in a table is None."""
        return tuple(
            Change(str(one["kind"]), {k: None if v == "None" else v for k, v in one.items() if k != "kind"})
            for one in self.changes
        )


@dataclass(frozen=True)
class ReleasedTable:
    """The released files of a system, and how their tensors are called here.

    Args:
        source: the authors' repository.
        commit: in which the facts were read.
        licence: of the weights, as stated.
        pixels: pixel recipe of the files that have no other.
        file: the files.
        opens: key of the file under which the tensors lie, "a.b" for one inside another; "": any usual one, or none.
        marks: pattern of a name that only this format has; "": recognised by nothing.
        rename: pattern of a whole name -> our name, "" to leave the tensor out, "a|b|c" to split its rows in equal
            parts, "a#0" for a part of a. The first pattern that fits counts; a name that none fits stays as it is.
        begin: beginnings of the file's names -> what stands for them in the patterns.
        end: what stands in our names for beginnings of them -> these.
        squeeze: patterns of our names of tensors whose axes of one entry go.
        transpose: our names of tensors whose two axes change places.
        stack: our names whose parts become one more axis; the others' parts are put one below another.
        splice: our name -> name of the table whose rows replace its rows from ``kept`` on.
        kept: first rows that ``splice`` leaves.
        spread: our name -> name of a vector that is added to every row but the first.
    """

    source: str
    commit: str
    licence: str = ""
    pixels: Mapping[str, Any] | None = None
    file: tuple[Released, ...] = ()
    opens: str = ""
    marks: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    begin: Mapping[str, str] = field(default_factory=dict)
    end: Mapping[str, str] = field(default_factory=dict)
    squeeze: tuple[str, ...] = ()
    transpose: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    splice: Mapping[str, str] = field(default_factory=dict)
    kept: int = 0
    spread: Mapping[str, str] = field(default_factory=dict)


def slugs() -> list[str]:
    """Return the slugs of the systems that have a table, sorted."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


@cache
def table(slug: str) -> ReleasedTable:
    """Return the table of a system.

    Raises:
        UsageError: it has none.

    Example:
        >>> table("long-clip").file[1].name
        'long-clip-l'
    """
    import tomllib

    path = TABLES / f"{slug}.toml"
    if slug not in slugs():
        raise UsageError(f"No released file of {slug!r} is read here: the systems with one are {', '.join(slugs())}.")
    read = build(ReleasedTable, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    return replace(read, file=tuple(replace(one, pixels=one.pixels or read.pixels) for one in read.file))


@cache
def part_table(name: str) -> ReleasedTable:
    """Return the table of a model that is a part of systems and none itself, such as "sam".

    Example:
        >>> part_table("sam").source
        'facebookresearch/segment-anything'
    """
    import tomllib

    path = TABLES / "parts" / f"{name}.toml"
    return build(ReleasedTable, tomllib.loads(path.read_text(encoding="utf-8")), str(path))


def row(name: str) -> tuple[str, Released]:
    """Return the slug and the row of a released file by its name.

    Raises:
        UsageError: there is no such name, or the file cannot be read here.
    """
    rows = {one.name: (slug, one) for slug in slugs() for one in table(slug).file}
    if name not in rows:
        import difflib

        near = ", ".join(difflib.get_close_matches(name, rows, n=3, cutoff=0.0))
        raise UsageError(f"{name!r} is not a released file that is known here: the nearest are {near}.")
    slug, known = rows[name]
    if known.unread:
        raise UsageError(f"The released file {name} is not read here: {known.unread}.")
    return slug, known


def recognised(names: Mapping[str, object]) -> ReleasedTable | None:
    """Return the table of a whole CLIP whose ``marks`` fit a name, None if there is none."""
    for slug in slugs():
        marks = table(slug).marks
        if marks and any(re.fullmatch(marks, name) for name in names):
            return table(slug)
    return None
