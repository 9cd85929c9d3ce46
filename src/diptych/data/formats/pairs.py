"""Picture-text tables as streams, such as open_clip's CSV or TSV with columns filepath and title."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.core.wording import columns_there
from diptych.data.format import Format, Request
from diptych.data.formats.outcomes import usable
from diptych.data.formats.weighted import WEIGHTS, check_shares, weighted
from diptych.data.images import open_image
from diptych.data.inside import OUTSIDE, inside
from diptych.data.keys import FileKeys
from diptych.data.rows import CAPTION_COLUMNS, PATH_COLUMNS, columns_of, header, refuse_twins, separator


@dataclass(frozen=True)
class PictureFile:
    """A picture in a file of its own, which takes no memory: it is decoded on demand, in the workers.

    Args:
        name: path of the picture.
    """

    content: ClassVar[None] = None
    name: str

    def image(self) -> Image.Image:
        """Return the picture.

        Raises:
            UnreadableItem: it cannot be read.
        """
        return open_image(self.name)

    def key(self) -> str:
        """Return the SHA-256 of the picture's file; raises UnreadableItem where it cannot be read."""
        return FileKeys().key(self.name)


@dataclass(frozen=True)
class PairItem(PictureFile):
    """One row.

    Args:
        title: the text.
        columns: captions, and perhaps their weights, for a training; {}: the text alone.
    """

    title: str
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def text(self) -> str:
        """Return the text."""
        return self.title


@dataclass(frozen=True)
class PairStream:
    """Rows of a picture-text table, as a Stream of core.data with one row in memory.

    A position is the number of a row, from 0.

    Args:
        path: .csv or .tsv file, UTF-8, with a heading; columns are separated as ``data.rows.separator`` says.
        images: column with the picture's path; relative paths start at the table's folder.
        texts: column with the text.
        further: more columns with captions, one of which a training draws.
        shares: weight of each column of captions; (): all are equal.
        broken: function that takes the error of each unusable row, which is then skipped. None (default): the error is
            raised.
        allow_outside: whether paths may leave the table's folder (default False).
    """

    path: str
    images: str = "filepath"
    texts: str = "title"
    broken: Callable[[UnreadableItem], None] | None = None
    allow_outside: bool = False
    start: int = 0
    further: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    def __iter__(self) -> Iterator[tuple[int, PairItem]]:
        return usable(self.outcomes(), self.broken)

    def outcomes(self) -> Generator[tuple[int, PairItem | UnreadableItem], None, None]:
        """Yield (position, item or error) of all rows.

        Raises:
            DataError: a column is missing, or the table is damaged, so that the bounds of rows are unknown.
        """
        last = 0
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as lines:
                reader = csv.reader(lines, delimiter=separator(Path(self.path), lines), strict=True)
                heading = [name.strip() for name in next(reader, [])]
                refuse_twins(self.path, heading)
                if not any(heading):
                    raise DataError(f"{self.path} is empty: give a table with a line of column names.")
                if missing := [c for c in (self.images, self.texts, *self.further) if c not in heading]:
                    raise DataError(
                        f"{self.path} has no column {' and no column '.join(missing)}, only {columns_there(heading)}: "
                        f"name the columns to read."
                    )
                at, texts = heading.index(self.images), [heading.index(c) for c in (self.texts, *self.further)]
                for number, row in enumerate(reader):
                    last = number + 1
                    if number >= self.start:
                        yield number, self._item(number, row, at, texts)
        except UnicodeDecodeError:
            raise DataError(f"{self.path} is no UTF-8 somewhere after row {last}: save it again as UTF-8.") from None
        except csv.Error as error:
            raise DataError(
                f"{self.path} is damaged after row {last} ({error}): repair it, or save it again."
            ) from None

    def seek(self, position: int) -> PairStream:
        """Return the stream that starts at row ``position``."""
        return replace(self, start=position)

    def source(self, pairs: Sequence[tuple[int, Any]]) -> str:
        """Return a hash of texts, paths, and the state of each picture's file; "" where one is missing.

        A changed picture is known by its size, time and inode, as in ``data.keys``.
        """
        digest = hashlib.sha256()
        try:
            for _, item in pairs:
                at = os.stat(item.name)
                facts = f"{item.name}\0{item.title}\0{at.st_size} {at.st_mtime_ns} {at.st_ino} {at.st_mode}\0"
                digest.update(facts.encode("utf-8", "surrogateescape"))
        except OSError:
            return ""
        return f"rows\0{digest.hexdigest()}"

    def _item(self, number: int, row: list[str], at: int, texts: Sequence[int]) -> PairItem | UnreadableItem:
        where = f"Row {number + 1} of {self.path}"
        if len(row) <= max(at, *texts) or not row[at].strip():
            return UnreadableItem(where, f"has no {self.images} or no {self.texts}")
        title, columns = row[texts[0]].strip(), {}
        if self.further:
            captions, weights = weighted([row[i] for i in texts], None, self.shares, where)
            if not captions:
                return UnreadableItem(where, "has no caption")
            title, columns = captions[0], {"captions": captions, **({"captions" + WEIGHTS: weights} if weights else {})}
        path = row[at].strip()
        try:
            folder = os.path.dirname(self.path)
            return PairItem(
                os.path.join(folder, path) if self.allow_outside else inside(folder, path, where), title, columns
            )
        except DataError:
            return UnreadableItem(where, "leads outside the table's folder")


_KINDS = (".csv", ".tsv")


def open_pairs(
    path: str | os.PathLike[str],
    images: str = "filepath",
    texts: str = "title",
    broken: Callable[[UnreadableItem], None] | None = None,
) -> PairStream:
    """Open a picture-text table as a stream; see ``PairStream`` for the arguments.

    Raises:
        UsageError: no such file, or it does not end in .csv or .tsv.
    """
    file = Path(path)
    if not file.is_file() or file.suffix.lower() not in _KINDS:
        raise UsageError(f"There is no table {file} that ends in .csv or .tsv: check the spelling.")
    return PairStream(os.path.abspath(file), images, texts, broken, bool(OUTSIDE.get()))


def _usual(path: Path, request: Request) -> PairStream:
    """Open a table by the columns asked for, else by open_clip's names, else by those that tables usually have."""
    names = header(path)
    image = columns_of(names, ("filepath", *PATH_COLUMNS), request.image)
    text = columns_of(names, ("title", *CAPTION_COLUMNS), request.text)
    check_shares(request.shares, text, (), os.fspath(path))
    stream = open_pairs(path, next(iter(image), request.image or "filepath"), next(iter(text), request.text or "title"))
    return replace(stream, further=tuple(text[1:]), shares=request.shares) if request.text else stream


PAIRS = Format(
    "a table (.csv, .tsv)", lambda path, request: path.suffix.lower() in _KINDS, _usual, frozenset(("photos", "texts"))
)
