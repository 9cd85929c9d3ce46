"""What was skipped: CSV files of path and reason, for machines, and counts of files that a folder leaves out."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from diptych.core.wording import number_of, one_line
from diptych.data.files import append, drafted, escaped

FILE = "skipped.csv"
"""Name of such a list in a folder of results."""
COLUMNS = ("path", "reason")
MOST = 100_000
"""Items of a list that are held in memory."""


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


class SkippedOnce:
    """A list in which each item stands once, however often it is met, as in the epochs of a training.

    Args:
        folder: has the list, perhaps of an earlier process; None: nothing is written.
        number: of the process; each has a list of its own.
    """

    def __init__(self, folder: Path | None, number: int = 0) -> None:
        self.path = path = None if folder is None else folder / (FILE if number == 0 else f"skipped-{number}.csv")
        self._known: set[str] = set() if path is None else {row["path"] for row in read_skipped(path, MOST)}

    def add(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Add the rows that are not in the list."""
        if self.path is None:
            return
        for row in rows:
            if escaped(row["path"]) not in self._known:
                add_skipped(self.path, [row], self.path.stat().st_size if self.path.exists() else 0)
                if len(self._known) < MOST:
                    self._known.add(escaped(row["path"]))


def read_skipped(path: Path, most: int) -> list[dict[str, str]]:
    """Return the first rows of a list; [] where there is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(islice(csv.DictReader(file), most))


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([escaped(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
"""Suffixes of video files."""
_RAW = "3fr arw cr2 cr3 crw dng erf iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"
RAW = frozenset("." + ending for ending in _RAW.split())
"""File endings of unprocessed photos of cameras."""
_WORDS = MappingProxyType(
    {"raw": ("raw photo", ""), "video": ("video", ""), "bare": ("file without a suffix", "files without a suffix")}
)
_LOG = logging.getLogger(__name__)


def kind_of(name: str) -> str:
    """Return "raw", "video", or "bare" for a name without a suffix; "" for all others, such as tables and notes.

    Example:
        >>> [kind_of(name) for name in ("IMG_1.CR2", "a.mp4", "IMG_2", "labels.csv")]
        ['raw', 'video', 'bare', '']
    """
    suffix = os.path.splitext(name)[1].lower()
    return "raw" if suffix in RAW else "video" if suffix in VIDEOS else "" if suffix else "bare"


class LeftOut:
    """Counts the files of one folder that are left out; also those in its subfolders."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a file that is no picture, by its name; hidden ones are not counted."""
        if not name.startswith((".", "__")) and (kind := kind_of(name)):
            self._counts[kind] += 1

    def __str__(self) -> str:
        """Say how many there are of each kind; "" where there is none."""
        return ", ".join(number_of(self._counts[kind], *words) for kind, words in _WORDS.items() if self._counts[kind])

    def report(self, folder: str | os.PathLike[str]) -> None:
        """Say it through the logger, which writes on stderr by default; the same sentence only once in a process."""
        if counts := str(self):
            _say(f"Left out of {one_line(os.fspath(folder))}: {counts}.")


def report_unnamed(folder: str | os.PathLike[str], pictures: Iterable[str], named: Iterable[str]) -> None:
    """Say how many pictures of a folder its metadata table does not name, which are left out.

    Args:
        folder: that has the table.
        pictures: all that lie in it.
        named: those of the table's rows.
    """
    taken, real = set[str](), lru_cache(os.path.realpath)
    for path in named:
        taken.add(os.path.join(real(os.path.dirname(path)), os.path.basename(path)))
    left = [p for p in pictures if os.path.join(real(os.path.dirname(p)), os.path.basename(p)) not in taken]
    if left:
        counted = number_of(len(left), "picture that has", "pictures that have")
        _say(
            f"Left out of {one_line(os.fspath(folder))}: {counted} no row in its metadata, such as "
            f"{one_line(os.path.basename(left[0]))}; give the table more rows, or take it away to read all."
        )


@lru_cache(maxsize=1024)
def _say(sentence: str) -> None:
    _LOG.warning("%s", sentence)
