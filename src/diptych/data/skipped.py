"""Lists of what was skipped, for machines: CSV files of path and reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from diptych.data.files import append, drafted, escaped

FILE = "skipped.csv"
"""Name of such a list in a folder of results."""
COLUMNS = ("path", "reason")


def add_skipped(path: Path, rows: Sequence[Mapping[str, str]], at: int) -> int:
    """Add rows to a list, which is made where there is something to write. Return its bytes.

    Args:
        path: of the list.
        rows: each with ``COLUMNS``.
        at: bytes of the list that count: what a killed process wrote behind them goes.
    """
    if not rows:
        return at
    content = _lines([] if at else [COLUMNS]) + _lines([row[column] for column in COLUMNS] for row in rows)
    append(path, content, at)
    return at + len(content)


def join_skipped(path: Path, parts: Iterable[Path]) -> None:
    """Write the rows of several lists to one, which is replaced; where none is there, it is removed."""
    present = [part for part in parts if part.exists()]
    if not present:
        path.unlink(missing_ok=True)
        return
    head = _lines([COLUMNS])
    with drafted(path, overwrite=True) as draft, draft.open("wb") as whole:
        whole.write(head)
        for part in present:
            with part.open("rb") as rows:
                rows.seek(len(head))
                while block := rows.read(2**20):
                    whole.write(block)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([escaped(cell) for cell in row] for row in rows)
    return text.getvalue().encode()
