"""Paths that a table or another file names: they stay below its folder, unless the user allows others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from diptych.core import DataError

OUTSIDE: ContextVar[bool | None] = ContextVar("OUTSIDE", default=None)
"""Whether tables may name files outside their folders; None: they may not, and the caller has no argument for it."""


@contextmanager
def outside_allowed(allowed: bool = True) -> Iterator[None]:
    """Let the tables that are opened in the block name files outside their folders: the user trusts them.

    Example:
        >>> with outside_allowed():
        ...     inside("data", "/photos/a.jpg", "Row 1 of data/labels.csv")
        '/photos/a.jpg'
    """
    token = OUTSIDE.set(allowed)
    try:
        yield
    finally:
        OUTSIDE.reset(token)


def inside(folder: str | os.PathLike[str], path: str, where: str) -> str:
    """Return the absolute path of a path in a file, which must be below its folder or below the working directory.

    So an untrusted table cannot read files elsewhere. The root of the file system is no such working directory.

    Within ``outside_allowed`` a path may lead anywhere.

    Args:
        folder: start of relative paths.
        path: path as written in the file; an absolute one may reach the folder through links. Where there is no file
            of a name with backslashes, they divide folders, as in a table that was written on Windows.
        where: position in the file, for the error, such as "Row 3 of labels.csv".

    Raises:
        DataError: the path is outside both.
    """
    base = _normal(os.fspath(folder)) if os.path.isabs(folder) else os.path.abspath(folder)
    if "\\" in path and "\0" not in path and not os.path.lexists(os.path.join(base, path)):
        path = path.replace("\\", "/")
    absolute = os.path.normpath(os.path.join(base, path))
    if "\0" not in path:
        if OUTSIDE.get() or absolute.startswith(os.path.join(base, "")):
            return absolute
        work = os.getcwd()
        for root in (base, *([work] if os.path.dirname(work) != work else [])):
            if absolute.startswith(below := os.path.join(root, "")):
                return absolute
            if os.path.isabs(path):
                real = os.path.relpath(os.path.realpath(absolute), os.path.realpath(root))
                linked = os.path.normpath(os.path.join(root, real))
                if linked.startswith(below):
                    return linked
    trusted = "" if OUTSIDE.get() is None else ", or give {outside} if you trust the table"
    raise DataError(
        f"{where} leads outside the table's folder ({path[:200]!r}): run the command in a folder that holds the table "
        f"and its pictures, or move the pictures below {base}{trusted}."
    )


@lru_cache(maxsize=64)
def _normal(folder: str) -> str:
    """Return an absolute path without dots, computed once for all rows of a table."""
    return os.path.normpath(folder)


def all_inside(folder: str | os.PathLike[str], paths: Sequence[str]) -> list[str]:
    """Return the absolute paths of the cells of a column.

    Raises:
        DataError: a path is outside the folder, or empty.
    """
    absolute = []
    for number, path in enumerate(paths, 1):
        if not path:
            raise DataError(f"Row {number} of the table in {folder} names no file: fill it, or remove the row.")
        absolute.append(inside(folder, path, f"Row {number} of the table in {folder}"))
    return absolute
