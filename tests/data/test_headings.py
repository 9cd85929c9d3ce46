from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from diptych.core import DataError
from diptych.data.headings import heading_of
from diptych.data.load import open_data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return tmp_path


def test_the_table_that_a_folder_holds_is_named_with_its_columns(photos: Path) -> None:
    assert heading_of(photos) == ""
    (photos / "notes.csv").write_text("bild,breed\na.png,pug\n")
    assert heading_of(photos) == "; notes.csv has the columns bild, breed"
    (photos / "other.tsv").write_text("x\n1\n")
    assert heading_of(photos) == "", "which of two tables is meant nobody knows"
    (photos / "metadata.csv").write_text("file_name\na.png\n")
    assert heading_of(photos) == "; metadata.csv has the column file_name"


def test_of_many_columns_the_first_are_named(photos: Path) -> None:
    table = photos / "wide.csv"
    table.write_text(",".join(f"c{i}" for i in range(500)) + "\n")
    assert heading_of(table) == "; wide.csv has the columns c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 490 more"


def test_what_is_no_table_has_no_columns(photos: Path) -> None:
    assert heading_of(photos / "a.png") == heading_of(photos / "nowhere.csv") == ""
    (photos / "empty.csv").write_text("")
    assert heading_of(photos / "empty.csv") == ""


def test_a_data_set_without_labels_says_what_its_table_has(photos: Path) -> None:
    (photos / "rows.csv").write_text("path,breed\na.png,pug\n")
    assert open_data(photos / "rows.csv").heading == "; rows.csv has the columns path, breed"
    (photos / "rows.csv").write_text("path,class\na.png,pug\n")
    assert open_data(photos / "rows.csv").heading == ""


def test_captions_that_are_missing_are_looked_for_in_the_table_that_is_there(photos: Path) -> None:
    (photos / "metadata.csv").write_text("file_name,breed\na.png,pug\n")
    with pytest.raises(DataError, match=r"captions\.csv: give one; metadata\.csv has the columns file_name, breed\.$"):
        open_data(photos, need="captions")


@pytest.mark.parametrize("need", ["masks", "anomalies"])
def test_a_table_where_a_folder_is_needed_is_refused_in_a_sentence(photos: Path, need: str) -> None:
    (photos / "rows.csv").write_text("path,class\na.png,pug\n")
    with pytest.raises(DataError, match=r"rows\.csv is (not|neither) a folder .*: give one"):
        open_data(photos / "rows.csv", need=need)  # type: ignore[arg-type]
