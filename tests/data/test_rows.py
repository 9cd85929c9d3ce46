from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, UsageError
from diptych.data.rows import PATH_COLUMNS, chosen_column, filled, read_columns


def test_bytes_are_text_where_they_are_utf8(tmp_path: Path) -> None:
    cells = {"caption": [b"a caf\xc3\xa9", None], "jpg": [b"\xff\xd8", b"x"]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    columns = read_columns(tmp_path / "t.parquet")
    assert columns == {"caption": ["a café", None], "jpg": [b"\xff\xd8", b"x"]}
    with pytest.raises(DataError, match=r"bytes that are no UTF-8 text .*: write text there, or name another column"):
        filled(tmp_path / "t.parquet", "jpg", columns["jpg"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "path,caption,caption\na.png,one,two\n"),
        ("t.tsv", "path\tcaption\t caption\na.png\tone\ttwo\n"),
        ("t.jsonl", '{"path": "a.png", "caption": "one", "caption": "two"}\n'),
    ],
)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=r"two (columns|fields) named 'caption': rename one"):
        read_columns(tmp_path / name)


def test_two_columns_of_one_name_are_refused_in_parquet(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["caption", "caption"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="two columns named 'caption'"):
        read_columns(tmp_path / "t.parquet")


def test_columns_without_a_name_may_be_many(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,,\na.png,,\n")
    assert read_columns(tmp_path / "t.csv", "path".__eq__) == {"path": ["a.png"]}


def test_a_table_without_a_usual_column_says_what_to_rename() -> None:
    with pytest.raises(
        UsageError, match=r"columns file, words: name the one with the pictures, or rename it to path\."
    ):
        chosen_column(Path("a.csv"), ["file", "words"], PATH_COLUMNS, "", "the pictures")


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match=r"t\.csv is empty: give a table with a line of column names"):
        chosen_column(tmp_path / "t.csv", read_columns(tmp_path / "t.csv"), PATH_COLUMNS, "", "the pictures")
