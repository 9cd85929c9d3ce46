"""Tables of light curves with classes, found by the names of their columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError
from diptych.data.formats.star_table import holds_curves
from diptych.data.load import open_data

LINES = ["star_id,mjd,mag,mag_err,filter", "a,2,10.5,0.1,V", "a,1,10,0.1,V", "b,1,11,0.1,V", "c,1,12,,g", "d,1,9,0.1,g"]
STARS = ["star_id,class,split", "a,eclipsing,train", "b,pulsating,test", "c,,train", "d,eclipsing,valid"]


def folder(place: Path, stars: list[str] | None = None) -> Path:
    place.mkdir(exist_ok=True)
    (place / "light_curves.csv").write_text("\n".join(LINES))
    if stars:
        (place / "stars.csv").write_text("\n".join(stars))
    return place


def test_curves_stand_in_splits_and_those_without_class_apart(tmp_path: Path) -> None:
    data = open_data(folder(tmp_path / "sky", STARS), need="curves")
    assert (data.name, data.classes, list(data.splits)) == (
        "sky",
        ("eclipsing", "pulsating"),
        ["train", "val", "test", "unlabelled"],
    )
    train = data.split("train")
    assert train.items.name(0) == "a"
    assert train.items[0].time.tolist() == [1, 2]
    assert train.items[0].band.tolist() == ["V", "V"]
    assert train.labels().tolist() == [0]
    assert data.split("test").labels().tolist() == [1]
    assert data.split("unlabelled").items.name(0) == "c"
    assert len(data.hash) == 64


def test_a_table_alone_is_read_as_csv_and_parquet(tmp_path: Path) -> None:
    table = folder(tmp_path / "sky") / "light_curves.csv"
    pq.write_table(pa.table({"id": ["x", "x"], "time": [0.0, 1.0], "flux": [1.0, 2.0]}), tmp_path / "more.parquet")
    for path, names in ((table, "abcd"), (tmp_path / "more.parquet", "x"), (tmp_path / "sky", "abcd")):
        assert holds_curves(path)
        test = open_data(path, need="curves").split("test")
        assert [test.items.name(i) for i in range(len(test))] == list(names)


def test_what_holds_no_curves(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("path,label\na.jpg,cat\n")
    (tmp_path / "odd.parquet").write_bytes(b"PAR")
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00")
    for path in ("photos.csv", "odd.parquet", "odd.csv", "nowhere", "demo:photos", "."):
        assert not holds_curves(tmp_path / path)
    with pytest.raises(DataError, match="is not a table of measurements"):
        open_data(tmp_path, need="curves")


@pytest.mark.parametrize(
    ("stars", "label", "says"),
    [
        (["star_id,class", "a,x", "z,y"], None, "'z' has no measurements"),
        (["name_of_it,class", "a,x"], None, "that names the stars"),
        (["star_id,class", "a,x"], "kind", "no column kind"),
        (["star_id,class,split", "a,x,today"], None, "names the split 'today'"),
        (["star_id,class,split", "a,x,train", "b,y,train", "a,x,test"], None, "has a in train and in test"),
        (None, "kind", "There is no stars.csv"),
    ],
)
def test_wrong_tables_of_stars_are_named(tmp_path: Path, stars: list[str] | None, label: str | None, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_data(folder(tmp_path / "sky", stars), need="curves", label=label or "")


def test_a_damaged_table_says_so(tmp_path: Path) -> None:
    (tmp_path / "light_curves.parquet").write_bytes(b"PAR1 and PAR1")
    with pytest.raises(DataError, match="cannot be read as a table"):
        open_data(tmp_path, need="curves")


def test_a_table_without_times_is_named(tmp_path: Path) -> None:
    (tmp_path / "light_curves.csv").write_text("star_id,mag\na,1\n")
    with pytest.raises(
        DataError, match="no column for the time of a measurement, only star_id, mag: call it one of time, mjd"
    ):
        open_data(tmp_path, need="curves")
