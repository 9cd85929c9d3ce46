from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.core import DataError, UsageError
from diptych.data.words.taxonomy import FREE, majority, read_taxonomy, read_votes


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    path = tmp_path / "taxonomy.json"
    path.write_text(json.dumps({"Microscopy": ["light", "electron"], "Plots": ["bar"]}))
    return path


def test_a_narrow_label_brings_the_wide_one(taxonomy: Path, tmp_path: Path) -> None:
    read = read_taxonomy(str(taxonomy))
    assert read.expand("electron") == ("Microscopy", "electron")
    assert read.expand("Plots") == ("Plots",)
    with pytest.raises(DataError, match="no label 'pie': add it, or use one of Microscopy, Plots"):
        read.expand("pie")
    (tmp_path / "votes.csv").write_text("filepath,labels\na,light; bar\nb,\nc,Plots;bar\n")
    votes = read_votes(str(tmp_path / "votes.csv"), read)
    assert votes == [("a", ("Microscopy", "light", "Plots", "bar")), ("c", ("Plots", "bar"))]
    assert read_taxonomy("") == FREE
    assert FREE.expand("anything") == ("anything",)


def test_more_than_half_of_the_votes_label_a_cluster() -> None:
    assert majority([(0, ["a", "a"]), (0, ["b"]), (2, ["c", "d"]), (2, ["d"]), (2, ["d", "c"])], 4) == [
        (), (), ("d", "c"), (),
    ]  # fmt: skip


def test_bad_tables_are_named(tmp_path: Path, taxonomy: Path) -> None:
    with pytest.raises(UsageError, match="There is no file absent with a taxonomy"):
        read_taxonomy("absent")
    for text, said in (('["x"]', "is no taxonomy"), ('{"A": ["x"], "B": ["x"]}', "has 'x' at two places")):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(DataError, match=said):
            read_taxonomy(str(tmp_path / "t.json"))
    (tmp_path / "v.csv").write_text("filepath\na\n")
    with pytest.raises(DataError, match="has no column labels"):
        read_votes(str(tmp_path / "v.csv"), FREE)
    (tmp_path / "v.csv").write_text("filepath,labels\na,\n")
    with pytest.raises(DataError, match="labels nothing"):
        read_votes(str(tmp_path / "v.csv"), FREE)
