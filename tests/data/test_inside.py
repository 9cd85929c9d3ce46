from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, UnreadableItem
from diptych.data.inside import inside, outside_allowed
from diptych.data.load import open_data, open_stream
from tests.support.colours import coloured


def test_paths_lead_outside_with_consent_alone(tmp_path: Path) -> None:
    for path in ("/photos/a.png", "../a.png"):
        with pytest.raises(DataError, match="leads outside the table's folder"):
            inside(tmp_path / "set", path, "Row 1")
    with outside_allowed():
        assert inside(tmp_path / "set", "/photos/a.png", "Row 1") == "/photos/a.png"
        assert inside(tmp_path / "set", "../a.png", "Row 1") == str(tmp_path / "a.png")
        with pytest.raises(DataError, match="leads outside"):
            inside(tmp_path / "set", "/photos/a\0.png", "Row 1")
    with pytest.raises(DataError, match="leads outside"):
        inside(tmp_path / "set", "/photos/a.png", "Row 1")


def test_consent_is_offered_where_it_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(DataError) as plain:
        inside(tmp_path, "/photos/a.png", "Row 1")
    with outside_allowed(False), pytest.raises(DataError) as asked:
        inside(tmp_path, "/photos/a.png", "Row 1")
    assert asked.value.spelled("--{}".format) == str(plain.value)[:-1] + ", or give --outside if you trust the table."


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables_and_streams_take_the_consent_with_them(tmp_path: Path, name: str) -> None:
    coloured(tmp_path / "photos" / "red.png", "red", 0)
    table, photo = tmp_path / "set" / name, str(tmp_path / "photos" / "red.png")
    table.parent.mkdir()
    if name == "t.csv":
        table.write_text(f"filepath,title\n{photo},a red photo\n")
    else:
        pq.write_table(pa.table({"filepath": [photo], "title": ["a red photo"]}), table)
    with pytest.raises(DataError, match="leads outside"):
        open_data(table, need="captions")
    ((_, refused),) = open_stream(str(table)).outcomes()  # type: ignore[attr-defined]
    assert isinstance(refused, UnreadableItem)
    with outside_allowed():
        data, stream = open_data(table, need="captions"), open_stream(str(table))
    ((_, item),) = stream
    assert item.image().size == data.whole().items[0].size
    assert data.whole().items.name(0) == item.name == photo
