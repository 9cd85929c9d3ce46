from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.core.blocks import blocks
from diptych.data.format import Request
from diptych.data.formats.pairs import PAIRS, open_pairs
from diptych.data.inside import outside_allowed
from tests.support.image_files import photo


def table(folder: Path, suffix: str = ".csv", rows: int = 5) -> Path:
    mark = "," if suffix == ".csv" else "\t"
    lines = [mark.join(("id", "filepath", "title"))] + [
        mark.join((str(i), f"pictures/{i}.png", f"text {i}")) for i in range(rows)
    ]
    (folder / f"t{suffix}").write_text("\n".join(lines), encoding="utf-8-sig")
    return folder / f"t{suffix}"


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_rows_and_seek(tmp_path: Path, suffix: str) -> None:
    photo(tmp_path / "pictures/3.png", size=(7, 5))
    stream = open_pairs(table(tmp_path, suffix))
    whole = list(stream)
    assert [(p, i.text()) for p, i in whole] == [(n, f"text {n}") for n in range(5)]
    assert list(stream.seek(3)) == whole[3:]
    assert whole[3][1].image().size == (7, 5)
    with pytest.raises(UnreadableItem, match=r"2\.png: no such file"):
        whole[2][1].image()


def test_other_columns(tmp_path: Path) -> None:
    assert [i.title for _, i in open_pairs(table(tmp_path), texts="id")] == list("01234")
    with pytest.raises(DataError, match="no column caption, only id, filepath, title"):
        list(open_pairs(table(tmp_path), texts="caption"))


@pytest.mark.parametrize("mark", [";", "\t", ", "])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, mark: str) -> None:
    rows = (("filepath", "title"), ("a.png", '"a, b"'))
    (tmp_path / "t.csv").write_text("\n".join(mark.strip(" ").join(row) for row in rows), encoding="utf-8-sig")
    if mark == ", ":
        (tmp_path / "t.csv").write_text('filepath, title\na.png,"a, b"')
    ((_, item),) = PAIRS.read(tmp_path / "t.csv", Request())
    assert (item.name, item.text()) == (str(tmp_path / "a.png"), "a, b")


def test_broken_rows_are_named_and_passed_over(tmp_path: Path) -> None:
    place = table(tmp_path, rows=1)
    place.write_text(
        place.read_text(encoding="utf-8-sig") + "\n1,../../secret.png,b\n2\n3,,d\n4,e.png,e", encoding="utf-8"
    )
    met: list[UnreadableItem] = []
    assert [p for p, _ in open_pairs(place, broken=met.append)] == [0, 4]
    assert [(e.name.split(" of ")[0], e.reason.split()[0]) for e in met] == [
        ("Row 2", "leads"),
        ("Row 3", "has"),
        ("Row 4", "has"),
    ]
    with pytest.raises(UnreadableItem, match=r"Row 2 .* leads outside"):
        list(open_pairs(place))
    with outside_allowed():
        allowed = next(i for p, i in open_pairs(place, broken=met.append) if p == 1)
    assert allowed.name == str(tmp_path / "../../secret.png")


def test_outcomes_keep_the_place_of_a_broken_row(tmp_path: Path) -> None:
    place = table(tmp_path, rows=1)
    place.write_text(place.read_text(encoding="utf-8-sig") + "\n1,,b\n2,c.png,c", encoding="utf-8")
    found = list(open_pairs(place).outcomes())
    assert [(p, isinstance(item, UnreadableItem)) for p, item in found] == [(0, False), (1, True), (2, False)]
    assert next(str(item) for _, item in open_pairs(place).seek(1).outcomes()) == str(found[1][1])


def test_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no table"):
        open_pairs(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"filepath,title\n\xff,a\n")
    with pytest.raises(DataError, match="is no UTF-8"):
        list(open_pairs(tmp_path / "t.csv"))


def test_the_place_of_damage_is_told_and_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    whole = "filepath,title\n" + "".join(f"{i}.jpg,a dog of some kind\n" for i in range(2000))
    path.write_bytes(whole.encode() + "x.jpg,un café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is no UTF-8 somewhere after row (\d+): save it again as UTF-8") as refused:
        list(open_pairs(str(path)))
    assert 1000 < int(str(refused.value).partition("after row ")[2].partition(":")[0]) <= 2000
    path.write_text('filepath,title\na.jpg,a dog\nb.jpg,"a cat')
    with pytest.raises(DataError, match=r"is damaged after row 1 \(unexpected end of data\)"):
        list(open_pairs(str(path)))
    path.write_text("")
    with pytest.raises(DataError, match=r"t\.csv is empty: give a table with a line of column names"):
        list(open_pairs(str(path)))


def test_the_source_of_rows_tells_texts_and_the_state_of_each_picture(tmp_path: Path) -> None:
    for i in range(5):
        photo(tmp_path / f"pictures/{i}.png", size=(7, 5))
    stream = open_pairs(table(tmp_path))
    pairs = list(stream)
    sources = [stream.source(pairs), stream.source(pairs[1:]), open_pairs(table(tmp_path), texts="id").source([])]
    sources.append(open_pairs(table(tmp_path), texts="id").source(list(open_pairs(table(tmp_path), texts="id"))))
    assert len({*sources}) == 4
    assert open_pairs(table(tmp_path)).source(pairs) == sources[0]
    photo(tmp_path / "pictures/3.png", size=(9, 5))
    assert stream.source(pairs) != sources[0]
    assert [block.source for block in blocks(stream)] == [stream.source(pairs)]
    (tmp_path / "pictures/3.png").unlink()
    assert stream.source(pairs) == ""
