"""Texts beside an index, such as its marks: files of its folder, or notes of its database in pieces.

Pieces are put together in the order in which they were written, so that several workers can add to one text.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diptych.data.files import append, locked, write_whole
from diptych.search_index.opening import database_at


def read_note(location: Path | str, name: str) -> str | None:
    """Return a text; None where there is none."""
    database = database_at(location)
    if database is None:
        try:
            return (Path(location) / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
    pieces = database.notes(name)
    return "".join(pieces[key] for key in sorted(pieces)) if pieces else None


def write_note(location: Path | str, name: str, text: str) -> None:
    """Replace a text."""
    database = database_at(location)
    if database is None:
        write_whole(Path(location) / name, text, overwrite=True)
        return
    old = list(database.notes(name))
    database.write_note(name, _piece(), text)
    database.drop_notes(name, old)


def add_note(location: Path | str, name: str, lines: str) -> None:
    """Add whole lines to a text, and force them to the disk; half a line of a writer that was killed goes."""
    database = database_at(location)
    if database is not None:
        database.write_note(name, _piece(), lines)
        return
    path = Path(location) / name
    whole = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
    append(path, lines, at=whole)


@contextmanager
def changing(location: Path | str, name: str) -> Iterator[None]:
    """Let no other process of this folder write a text in the block; in a database, pieces need no lock."""
    if database_at(location) is not None:
        yield
        return
    with locked(Path(location) / f"{name}.lock"):
        yield


def _piece() -> str:
    return f"{time.time_ns():020d}-{uuid.uuid4().hex}"
