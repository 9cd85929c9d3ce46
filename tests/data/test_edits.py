from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, Table, Texts
from diptych.data.edits import SOURCE_ATTRIBUTES, TARGET_ATTRIBUTES, attributes, edit_table, read_edits
from tests.support.colours import coloured

HEADER = "source,edit,target,source_attributes,target_attributes"


def test_a_table_of_edits_is_read_and_selected(tmp_path: Path) -> None:
    for i, name in enumerate(("red", "blue", "green")):
        coloured(tmp_path / f"{name}.png", name, i)
    rows = [
        HEADER,
        "red.png,blue.png,a blue wall,a wall | red,a wall|blue",
        "red.png,green.png,a green wall,a wall|red,a wall|green",
    ]
    (tmp_path / "edits.csv").write_text("\n".join(rows))
    table = read_edits(tmp_path / "edits.csv")
    assert [tuple(c) for c in table.columns["captions"].values] == [("a blue wall",), ("a green wall",)]
    assert attributes(table, SOURCE_ATTRIBUTES)[0] == ("a wall", "red")
    last = table.take([1])
    assert attributes(last, TARGET_ATTRIBUTES) == (("a wall", "green"),)
    assert Path(last.items.name(0)).name == "green.png"
    assert Path(last.images("source").name(0)).name == "red.png"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["source,edit,target", "a.png,b.png,c"], "no column 'source_attributes'"),
        ([HEADER, "a.png,,c,d,e"], "edit"),
        ([HEADER, "a.png,b.png,,d,e"], "target"),
        ([HEADER, "a.png,b.png,c,d, "], "Edit 1 has no target text or an empty list"),
        ([HEADER, "../a.png,b.png,c,d,e"], "outside"),
    ],
)
def test_bad_rows_are_named(rows: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "edits.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=words):
        read_edits(tmp_path / "edits.csv")


def test_numbers_must_fit_and_columns_be_there() -> None:
    one = Texts(("a",))
    with pytest.raises(DataError, match="for 1 items"):
        edit_table(Texts(("a", "b")), one, ["t"], [["s"]], [["t"]])
    with pytest.raises(DataError, match="no column 'source_attributes'"):
        attributes(Table(one), SOURCE_ATTRIBUTES)
