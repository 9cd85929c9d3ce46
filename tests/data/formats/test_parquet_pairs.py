from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.formats.parquet_pairs import ParquetPair, ParquetStream, open_parquet_pairs
from diptych.data.load import open_stream
from diptych.tasks.curate.shards import cut
from tests.support.colours import coloured


def png(shade: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files as img2dataset writes them, of row groups of 3.

    Row 4 of the first has no picture, row 1 of the second no caption.
    """
    (tmp_path / "set").mkdir()
    for number in range(2):
        jpg = [png(20 * number + i) for i in range(7)]
        captions: list[str | None] = [f"caption {number} {i}" for i in range(7)]
        if number == 0:
            jpg[4] = None  # type: ignore[call-overload]
        else:
            captions[1] = None
        table = pa.table({"key": [str(i) for i in range(7)], "caption": captions, "jpg": jpg, "width": [4] * 7})
        pq.write_table(table, tmp_path / "set" / f"{number:05d}.parquet", row_group_size=3)
    return tmp_path / "set"


def shade(item: ParquetPair) -> int:
    return int(np.asarray(item.image())[0, 0, 0])


def test_rows_of_all_files_come_in_order_and_broken_ones_say_why(folder: Path) -> None:
    broken: list[UnreadableItem] = []
    stream = ParquetStream(open_parquet_pairs(folder).shards, broken=broken.append)
    items = list(stream)
    assert [at for at, _ in items] == [0, 1, 2, 3, 5, 6, *(2**32 + i for i in (0, 2, 3, 4, 5, 6))]
    assert [item.text() for _, item in items[:2]] == ["caption 0 0", "caption 0 1"]
    assert [shade(item) for _, item in items] == [0, 1, 2, 3, 5, 6, 20, 22, 23, 24, 25, 26]
    assert [e.reason for e in broken] == ["has no picture", "has no text"]
    assert broken[0].name.endswith("00000.parquet[4]")


def test_it_is_sought_at_every_position_and_parted(folder: Path) -> None:
    stream = open_parquet_pairs(folder)
    whole = [(at, getattr(item, "title", None)) for at, item in stream.outcomes()]
    for k, (position, _) in enumerate(whole):
        assert [(at, getattr(i, "title", None)) for at, i in stream.seek(position).outcomes()] == whole[k:]
    opened = open_stream(str(folder))
    parts = cut(opened)
    assert len(parts) == 2
    assert [at for part in parts for at, _ in part.outcomes()] == [at for at, _ in whole]  # type: ignore[attr-defined]


def test_texts_alone_need_no_pictures(folder: Path) -> None:
    texts = open_stream(str(folder / "00000.parquet"), pictures=False)
    assert [item.text() for _, item in texts] == [f"caption 0 {i}" for i in range(7)]


def test_paths_stay_within_the_folder_and_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(9))
    table = pa.table({"path": ["a.png", "../b.png", ""], "said": ["one", "two", "three"], "text": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "t.parquet")
    found = list(open_parquet_pairs(tmp_path / "t.parquet", texts="said").outcomes())
    assert (found[0][1].text(), shade(found[0][1])) == ("one", 9)  # type: ignore[union-attr, arg-type]
    assert [item.reason for _, item in found[1:]] == ["leads outside the table's folder", "has no picture"]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="name the columns"):
        list(open_parquet_pairs(tmp_path / "t.parquet", images="jpg").outcomes())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is damaged"):
        list(open_parquet_pairs(tmp_path / "bad.parquet").outcomes())
    with pytest.raises(UsageError, match="There is no Parquet"):
        open_parquet_pairs(tmp_path / "absent")


def test_columns_of_bytes_are_read_as_what_they_are(tmp_path: Path) -> None:
    coloured(tmp_path / "red.png", "red", 0)
    cells = {"filepath": [b"red.png", b"red.png", b"\xff.png"], "caption": [b"caf\xc3\xa9", b"\xff", b"a photo"]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    good, *broken = [item for _, item in open_parquet_pairs(tmp_path / "t.parquet").outcomes()]
    assert (good.text(), good.name, good.image().mode) == ("café", str(tmp_path / "red.png"), "RGB")
    assert [error.reason for error in broken] == ["holds bytes that are no UTF-8 text"] * 2
    pixels = (tmp_path / "red.png").read_bytes()
    pq.write_table(pa.table({"image": [pixels], "caption": [b"a photo"]}), tmp_path / "p.parquet")
    ((_, item),) = open_parquet_pairs(tmp_path / "p.parquet")
    assert (item.text(), item.image().size) == ("a photo", good.image().size)
    twice = pa.table([pa.array(["red.png"]), pa.array(["b"]), pa.array(["c"])], names=["filepath", "title", "title"])
    pq.write_table(twice, tmp_path / "two.parquet")
    with pytest.raises(DataError, match="two columns named 'title'"):
        list(open_parquet_pairs(tmp_path / "two.parquet"))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_table_of_texts_and_bytes_is_read_by_column(kind: pa.DataType, tmp_path: Path) -> None:
    """Rows are those of a table whose types make it be read row by row, from any row on; an empty cell says why."""
    jpg, captions = [png(i) for i in range(600)], [f"caption é {i}" for i in range(600)]
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"caption": pa.array(captions, kind), "jpg": jpg}), path)
    stream = open_parquet_pairs(path)
    for start in (0, 1, 300, 599):
        rows = list(stream.seek(start))
        assert [at for at, _ in rows] == list(range(start, 600))
        assert [item for _, item in rows] == [
            ParquetPair(f"{path}[{i}]", captions[i], jpg[i]) for i in range(start, 600)
        ]
    texts = replace(stream, pictures=False)
    assert [item.text() for _, item in texts] == captions
    captions[300] = ""
    pq.write_table(pa.table({"caption": pa.array([*captions[:599], None], kind), "jpg": jpg}), path)
    outcomes = list(open_parquet_pairs(path).outcomes())
    assert outcomes[300][1].text() == ""  # type: ignore[union-attr]
    assert isinstance(outcomes[599][1], UnreadableItem)
    assert outcomes[599][1].reason == "has no text"
