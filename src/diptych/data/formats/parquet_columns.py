"""Blocks of rows of a Parquet file of texts and bytes, whose columns are read when they are needed, and one alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from diptych.core import DataError
from diptych.core.blocks import BYTES, ROWS, STEP, Columnar

Pair = Callable[[str, str, bytes], Any]
IN_STEPS: Mapping[str, Any] = MappingProxyType({"buffer_size": 2**16, "pre_buffer": False})
"""How pyarrow opens a local file, of which it otherwise reads a row group at once."""


class _Reader:
    """One column, read forwards from a row on."""

    def __init__(self, file: PlainFile, column: str, start: int) -> None:
        self.at = max(at for at in file.starts if at <= start)
        self._batches = file.batches(column, file.starts.index(self.at))
        self._values: list[Any] = []

    def take(self, start: int, stop: int) -> list[Any]:
        """Return the cells of rows that are not before those taken last."""
        self._drop(start)
        while self.at + len(self._values) < stop:
            self._values += next(self._batches)
            self._drop(start)
        values = self._values[: stop - start]
        self._drop(stop)
        return values

    def _drop(self, start: int) -> None:
        count = min(start - self.at, len(self._values))
        del self._values[:count]
        self.at += count


@dataclass(frozen=True, eq=False)
class PlainFile:
    """A file of a column of texts and one of bytes, without empty cells.

    Args:
        path: of the file.
        image: column with the bytes; "": pictures are not read.
        text: column with the texts.
        starts: first row of each row group, and the number of rows.
        size: rows of a block.
        source: path and state of the file.
        pair: makes a row from name, text and bytes.
    """

    path: str
    image: str
    text: str
    starts: tuple[int, ...]
    size: int
    source: str
    pair: Pair
    _readers: dict[str, _Reader] = field(default_factory=dict, repr=False)

    def rows(self, skip: int) -> Iterator[PlainRows]:
        """Yield blocks of rows behind the first ``skip``; but for the first one they begin at multiples of ``size``."""
        while skip < self.starts[-1]:
            stop = min(skip - skip % self.size + self.size, self.starts[-1])
            yield PlainRows(self, skip, stop)
            skip = stop

    def take(self, column: str, start: int, stop: int) -> list[Any]:
        """Return cells of a column; fast where rows are asked for in order.

        Raises:
            DataError: the file is damaged.
        """
        with readable_shard(self.path):
            if column not in self._readers or self._readers[column].at > start:
                self._readers[column] = _Reader(self, column, start)
            return self._readers[column].take(start, stop)

    def batches(self, column: str, group: int) -> Iterator[list[Any]]:
        """Yield the cells of a column from a row group on."""
        import pyarrow.parquet as pq

        groups = list(range(group, len(self.starts) - 1))
        with pq.ParquetFile(self.path, **IN_STEPS) as file:
            for batch in file.iter_batches(self.size, row_groups=groups, columns=[column]):
                yield batch.column(0).to_numpy(zero_copy_only=False).tolist()


@dataclass(frozen=True, eq=False)
class PlainRows(Columnar):
    """Some rows of a file, in order.

    Args:
        start: first row.
        stop: last row + 1.
    """

    file: PlainFile = field(repr=False)
    start: int
    stop: int

    @property
    def source(self) -> str:
        """Which rows of which file."""
        return f"{self.file.source}\0{self.start}\0{self.stop}"

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return self.file.pair(self.names[index], self.texts()[index], self._contents[index])

    @cached_property
    def names(self) -> Sequence[str]:
        """File and row of each."""
        path = self.file.path
        return [f"{path}[{row}]" for row in range(self.start, self.stop)]

    def texts(self) -> Sequence[str]:
        """Return the text of each row."""
        return self._texts

    def unpictured(self, number: int) -> Any:
        """Return a row without the bytes of its picture."""
        return self.file.pair(self.names[number], self._texts[number], b"")

    @cached_property
    def _texts(self) -> list[str]:
        return self.file.take(self.file.text, self.start, self.stop)

    @cached_property
    def _contents(self) -> list[bytes]:
        return self.file.take(self.file.image, self.start, self.stop) if self.file.image else [b""] * len(self)


@contextmanager
def readable_shard(path: str) -> Iterator[None]:
    """Raise DataError where the block meets a damaged Parquet file, or one that ends too early."""
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, StopIteration, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged or cannot be read ({str(error)[:80]}): write or fetch it again.") from None


def plain_file(path: str, file: Any, image: str, text: str, pair: Pair) -> PlainFile | None:
    """Return a file as ``PlainFile``; None where it is no such file.

    Args:
        path: of the file.
        file: pyarrow's ParquetFile of it.
        image: see ``PlainFile``.
        text: see ``PlainFile``.
        pair: see ``PlainFile``.
    """
    import pyarrow as pa

    wanted = {text: pa.types.is_string, **({image: pa.types.is_binary} if image else {})}
    if not all(kind(file.schema_arrow.field(name).type) for name, kind in wanted.items()):
        return None
    starts, heavy = [0], 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        starts.append(starts[-1] + group.num_rows)
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema in wanted:
                facts = column.statistics
                if facts is None or not facts.has_null_count or facts.null_count:
                    return None
                if column.path_in_schema == image:
                    heavy = max(heavy, column.total_uncompressed_size // max(1, group.num_rows))
    size = max(STEP, min(ROWS, BYTES // max(1, heavy)))
    state = os.stat(path)
    parts = (os.path.abspath(path), state.st_size, state.st_mtime_ns, state.st_ino, image, text)
    return PlainFile(path, image, text, tuple(starts), size, "\0".join(map(str, parts)), pair)
