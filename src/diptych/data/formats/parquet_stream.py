"""Parquet files with encoded pictures and texts as a stream, such as img2dataset and the datasets library write."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.data.format import Format, Request
from diptych.data.formats.outcomes import usable
from diptych.data.formats.parquet import holds_images, image_column
from diptych.data.images import decode_image
from diptych.data.rows import CAPTION_COLUMNS, columns_of

_FILE = 2**32  # positions: file number * _FILE + row in the file
_ROWS = 256  # rows that are unpacked at once


@dataclass(frozen=True)
class ParquetPair:
    """One row, which is decoded on demand, in the workers.

    Args:
        name: the file and the row in it.
        picture: encoded.
        title: its text.
    """

    name: str
    picture: bytes = field(repr=False)
    title: str = ""

    def image(self) -> Image.Image:
        """Return the picture.

        Raises:
            UnreadableItem: it is damaged.
        """
        return decode_image(self.picture, self.name)

    def text(self) -> str:
        """Return the text."""
        return self.title


@dataclass(frozen=True)
class ParquetStream:
    """Rows of Parquet files, in the order of the files, as a Stream of core.data with 256 rows in memory.

    A position has the number of the file and of the row in it.

    Args:
        shards: the files; see ``open_parquet``.
        images: column with the encoded pictures.
        texts: column with the texts.
        broken: function that takes the error of each unusable row, which is then skipped. None (default): the error is
            raised.
        start: position of the first row.
        stop: number of the file at which the stream ends; None: after the last.
    """

    shards: tuple[str, ...]
    images: str
    texts: str
    broken: Callable[[UnreadableItem], None] | None = None
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[int, ParquetPair]]:
        return usable(self.outcomes(), self.broken)

    def outcomes(self) -> Generator[tuple[int, ParquetPair | UnreadableItem], None, None]:
        """Yield (position, item or error) of all rows; a damaged file is one error."""
        first, skip = divmod(self.start, _FILE)
        for number in range(first, len(self.shards) if self.stop is None else self.stop):
            try:
                for row, item in self._rows(self.shards[number], skip if number == first else 0):
                    yield number * _FILE + row, item
            except (OSError, ValueError) as error:
                trouble = UnreadableItem(self.shards[number], f"damaged Parquet file ({str(error)[:80]})")
                trouble.__cause__ = error.with_traceback(None)
                yield number * _FILE, trouble

    def seek(self, position: int) -> ParquetStream:
        """Return the stream that starts at ``position``."""
        return replace(self, start=position)

    def parts(self, count: int) -> list[ParquetStream]:
        """Return at most ``count`` streams of whole files; each item is in one of them, at the same position."""
        cuts = sorted({len(self.shards) * k // count for k in range(count + 1)})
        return [replace(self, start=a * _FILE, stop=b) for a, b in itertools.pairwise(cuts)]

    def _rows(self, path: str, skip: int) -> Iterator[tuple[int, ParquetPair | UnreadableItem]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            row, groups = 0, list(range(file.num_row_groups))
            while groups and row + file.metadata.row_group(groups[0]).num_rows <= skip:
                row += file.metadata.row_group(groups.pop(0)).num_rows
            for batch in file.iter_batches(_ROWS, row_groups=groups, columns=[self.images, self.texts]):
                if row + batch.num_rows > skip:
                    for at in range(max(0, skip - row), batch.num_rows):
                        pair = _pair(f"{path}[{row + at}]", batch.column(self.images)[at], batch.column(self.texts)[at])
                        yield row + at, pair
                row += batch.num_rows


def _pair(name: str, picture: Any, text: Any) -> ParquetPair | UnreadableItem:
    cell, title = picture.as_py(), text.as_py()
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not isinstance(title, str) or not title.strip():
        return UnreadableItem(name, "the row holds no picture or no text")
    return ParquetPair(name, data, title.strip())


def open_parquet(path: str | os.PathLike[str], image: str = "", text: str = "") -> ParquetStream:
    """Open a Parquet file, or a folder of them, as a stream of pairs.

    Args:
        path: of the file or folder.
        image: column with encoded pictures; "": the one that there is.
        text: column with texts; "": the first usual name that is present.

    Raises:
        UsageError: there is no such file.
        DataError: a column is missing.
    """
    import pyarrow.parquet as pq

    files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if not files or not files[0].is_file():
        raise UsageError(f"There is no Parquet file {path}: check the spelling.")
    schema = pq.read_schema(files[0])
    images = image or image_column(schema) or ""
    texts = next(iter(columns_of(schema.names, CAPTION_COLUMNS, text)), "")
    if images not in schema.names or not texts:
        raise DataError(
            f"{files[0]} has no column of {'texts' if images in schema.names else 'encoded pictures'}, only "
            f"{', '.join(schema.names)}: name the columns to read."
        )
    return ParquetStream(tuple(map(os.path.abspath, files)), images, texts)


def _matches(path: Path, request: Request) -> bool:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix.lower() == ".parquet" else []
    return bool(files) and files[0].is_file() and holds_images(files[0])


PARQUET_STREAM = Format(
    "Parquet files with encoded pictures",
    _matches,
    lambda path, request: open_parquet(path, request.image, request.text),
    frozenset(("photos",)),
)
