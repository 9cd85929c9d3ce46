"""Pictures as bytes in Parquet files, as written by the Hugging Face datasets library."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diptych.core import DataError, UnreadableItem
from diptych.data.formats.encoded import EncodedImages
from diptych.data.rows import LABEL_COLUMNS, NAME_COLUMNS, PATH_COLUMNS, TEXT_COLUMNS, reading_parquet

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img", "jpg", "png")
_MAX_GROUP = 4 * 2**30  # bytes of a row group, unpacked


@dataclass(frozen=True)
class ParquetImages(EncodedImages):
    """Pictures in Parquet files, with the last row group in memory.

    Args:
        groups: (file, column, row group, rows) in order.
    """

    groups: tuple[tuple[str, str, int, int], ...] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", np.cumsum([g[3] for g in self.groups]))
        object.__setattr__(self, "_row_group", _RowGroup())

    def __len__(self) -> int:
        return int(self.__dict__["_ends"][-1]) if self.groups else 0

    def read(self, index: int) -> bytes:
        """Return the bytes of a picture.

        Raises:
            UnreadableItem: the row is empty.
            DataError: the file is damaged: what else it holds is as doubtful.
        """
        group, row = self._position(index)
        row_group: _RowGroup = self.__dict__["_row_group"]
        with reading_parquet(Path(self.groups[group][0])):
            cell = row_group.column(self.groups[group])[row].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise UnreadableItem(self.name(index), "the row holds no picture")
        return data

    def name(self, index: int, /) -> str:
        """Return the file and the row in it."""
        group, row = self._position(index)
        file = self.groups[group][0]
        before = sum(g[3] for g in self.groups[:group] if g[0] == file)
        return f"{file}[{before + row}]"

    def _position(self, index: int) -> tuple[int, int]:
        index = range(len(self))[index]
        group = int(np.searchsorted(self.__dict__["_ends"], index, side="right"))
        return group, index - int(self.__dict__["_ends"][group]) + self.groups[group][3]


class _RowGroup:
    """The column of one row group, which is not pickled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[tuple[str, str, int, int], pa.ChunkedArray] | None = None

    def __reduce__(self) -> tuple[type[_RowGroup], tuple[()]]:
        return _RowGroup, ()

    def column(self, group: tuple[str, str, int, int]) -> pa.ChunkedArray:
        import pyarrow.parquet as pq

        with self._lock:
            if self._last is None or self._last[0] != group:
                self._last = None  # freed first, since two would double the memory
                with pq.ParquetFile(group[0]) as file:
                    self._last = (group, file.read_row_group(group[2], columns=[group[1]]).column(0))
            return self._last[1]


def parquet_images(sources: Sequence[tuple[str, str]]) -> ParquetImages:
    """Return the pictures of several (file, column), in order.

    Raises:
        DataError: a file is damaged, or a row group is larger than 4 GiB unpacked.
    """
    import pyarrow.parquet as pq

    groups = []
    for path, column in sources:
        with reading_parquet(Path(path)), pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                if group.total_byte_size > _MAX_GROUP:
                    raise DataError(
                        f"{path} has a row group of {group.total_byte_size:,} bytes, too much to hold: write smaller "
                        f"ones."
                    )
                groups.append((path, column, number, group.num_rows))
    return ParquetImages(tuple(groups))


def holds_images(path: Path) -> bool:
    """Return whether a Parquet file has pictures' bytes and no paths; raises DataError where it is damaged."""
    schema = schema_of(path)
    return image_column(schema) is not None and not (set(PATH_COLUMNS) - {"image"}) & set(schema.names)


def schema_of(path: Path) -> pa.Schema:
    """Return the columns of a Parquet file; raises DataError where it is damaged."""
    import pyarrow.parquet as pq

    with reading_parquet(path):
        return pq.read_schema(path)


def image_column(schema: pa.Schema) -> str | None:
    """Return the column of pictures' bytes, if there is one."""
    import pyarrow as pa

    def is_image(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    # A column of paths or texts may be bytes too, as tools without a type for text write them.
    others = [p for p in (*PATH_COLUMNS, *LABEL_COLUMNS, *NAME_COLUMNS, *TEXT_COLUMNS) if p not in IMAGE_COLUMNS]
    candidates = [f.name for f in schema if is_image(f.type) and not any(fnmatchcase(f.name, p) for p in others)]
    named = [c for c in IMAGE_COLUMNS if c in candidates]
    return named[0] if named else (candidates[0] if len(candidates) == 1 else None)


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return column -> class names, from the schema metadata of the datasets library."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        names_of = {
            c: f["names"] for c, f in features.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"
        }
        return {c: tuple(map(str, names)) for c, names in names_of.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
