"""Parquet files as a stream of pairs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.data.formats.parquet_stream import ParquetStream, open_parquet
from diptych.data.load import open_stream
from tests.support.image_files import photo


def written(root: Path, files: int = 3, rows: int = 5) -> Path:
    folder = root / "pairs"
    folder.mkdir()
    for f in range(files):
        pictures = [photo(root / f"{f}-{i}.png", 10 * f + i).read_bytes() for i in range(rows)]
        table = pa.table({"jpg": pictures, "caption": [f"text {f}-{i}" for i in range(rows)], "n": list(range(rows))})
        pq.write_table(table, folder / f"{f}.parquet", row_group_size=2)
    return folder


def test_rows_are_pairs_at_positions_that_can_be_sought(tmp_path: Path) -> None:
    stream = open_stream(str(written(tmp_path)))
    assert isinstance(stream, ParquetStream)
    items = list(stream)
    assert [item.text() for _, item in items] == [f"text {f}-{i}" for f in range(3) for i in range(5)]
    assert items[7][1].image().size == items[0][1].image().size
    for cut in (0, 3, 5, 14):
        assert [p for p, _ in stream.seek(items[cut][0])] == [p for p, _ in items[cut:]]


def test_parts_share_the_items(tmp_path: Path) -> None:
    stream = open_parquet(written(tmp_path))
    parts = [[p for p, _ in part] for part in stream.parts(3)]
    assert [len(part) for part in parts] == [5, 5, 5]
    assert [p for part in parts for p in part] == [p for p, _ in stream]


def test_empty_rows_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    pq.write_table(pa.table({"jpg": [b"x", None], "caption": ["a", "b"]}), folder / "1.parquet")
    (folder / "2.parquet").write_bytes(b"words")
    troubles = [item for _, item in open_parquet(folder).outcomes() if isinstance(item, UnreadableItem)]
    assert ["1.parquet[1]: the row" in str(troubles[0]), "damaged Parquet" in str(troubles[1])] == [True, True]
    with pytest.raises(UnreadableItem, match="no picture or no text"):
        list(open_parquet(folder))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Parquet file"):
        open_parquet(tmp_path / "none.parquet")
    pq.write_table(pa.table({"jpg": [b"x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column of texts, only jpg, n"):
        open_parquet(tmp_path / "a.parquet")
