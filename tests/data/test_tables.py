from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, UsageError
from diptych.data.captions import captions
from diptych.data.folders import class_folder
from diptych.data.inside import outside_allowed
from diptych.data.load import open_data
from diptych.data.rows import CAPTION_COLUMNS
from diptych.data.tables import read_table
from tests.support.image_files import photo

ROWS = [("train/cat/0.png", "cat", "train"), ("train/dog/1.png", "dog", "train"), ("test/cat/2.png", "cat", "test")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (path, _, _) in enumerate(ROWS):
        photo(tmp_path / path, seed)
    return tmp_path


def write(place: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Path:
    if place.suffix == ".parquet":
        pq.write_table(pa.table({h: [r[i] for r in rows] for i, h in enumerate(head)}), place)
    else:
        mark = "\t" if place.suffix == ".tsv" else ","
        place.write_text("\n".join(mark.join(row) for row in [head, *rows]), encoding="utf-8-sig")
    return place


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("column", ["path", "filepath", "image", "image_path"])
@pytest.mark.parametrize("label", ["label", "class", "class_name"])
def test_table_equals_the_folder(root: Path, suffix: str, column: str, label: str) -> None:
    data = read_table(write(root / f"t{suffix}", (column, label, "split"), ROWS))
    folder = class_folder(root)
    assert data.classes == folder.classes == ("cat", "dog")
    assert data.hash == folder.hash
    assert data.splits["train"].labels().tolist() == [0, 1]
    assert data.splits["test"].items[0].size == (40, 30)


def test_without_split_and_label(root: Path) -> None:
    assert list(read_table(write(root / "t.csv", ("path", "label"), [r[:2] for r in ROWS])).splits) == ["test"]
    assert read_table(write(root / "t.csv", ("path",), [r[:1] for r in ROWS])).classes == ()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("column", [c.replace("*", "s") for c in CAPTION_COLUMNS])
def test_captions_are_read_beside_labels(root: Path, suffix: str, column: str) -> None:
    said = (" a cat on a mat ", "", "a cat asleep")
    place = write(
        root / f"t{suffix}",
        ("path", "label", "split", column),
        [(*row, text) for row, text in zip(ROWS, said, strict=True)],
    )
    data = read_table(place)
    assert data.splits["train"].columns["captions"].kind == "captions"
    assert data.splits["train"].columns["captions"].values == (("a cat on a mat",), ())
    assert data.splits["test"].columns["captions"].values == (("a cat asleep",),)
    assert data.splits["train"].labels().tolist() == [0, 1]
    assert captions(open_data(place).splits["train"]) == ("a cat on a mat", ""), "no phrases about colours stand in"
    assert data.hash == class_folder(root).hash, "captions are not part of it"


def test_captions_need_no_labels_and_the_first_column_counts(root: Path) -> None:
    rows = [(place, f"text {i}", f"caption {i}") for i, (place, _, _) in enumerate(ROWS)]
    (table,) = read_table(write(root / "t.csv", ("path", "text", "caption"), rows)).splits.values()
    assert table.columns["captions"].values == (("caption 0",), ("caption 1",), ("caption 2",))
    assert set(table.columns) == {"captions"}


def test_synthetic_captions_stay_apart(root: Path) -> None:
    rows = [(place, f"alt {i}", f"one {i}", "" if i else "two") for i, (place, _, _) in enumerate(ROWS)]
    columns = ("path", "caption", "synthetic_0", "synthetic_1")
    for data in (read_table(write(root / "t.csv", columns, rows)), open_data(root / "t.csv", need="captions")):
        (table,) = data.splits.values()
        assert table.columns["captions"].values == (("alt 0",), ("alt 1",), ("alt 2",))
        assert table.columns["synthetic"].values == (("one 0", "two"), ("one 1",), ("one 2",))


def test_lists_of_captions_in_parquet(root: Path) -> None:
    said = [["one", None, " two ", ""], None, []]
    pq.write_table(
        pa.table({"path": [r[0] for r in ROWS], "sentences": pa.array(said, pa.list_(pa.string()))}), root / "t.parquet"
    )
    assert read_table(root / "t.parquet").splits["test"].columns["captions"].values == (("one", "two"), (), ())


def test_without_a_caption_column_there_are_none(root: Path) -> None:
    assert set(
        read_table(write(root / "t.csv", ("path", "label", "heading"), [(*r[:2], "x") for r in ROWS]))
        .splits["test"]
        .columns
    ) == {"label"}


def test_whole_numbers_are_sorted_as_numbers(root: Path) -> None:
    rows = [(ROWS[0][0], "10"), (ROWS[1][0], "9"), (ROWS[2][0], "010")]
    assert read_table(write(root / "t.csv", ("path", "label"), rows)).classes == ("9", "010", "10")


@pytest.mark.parametrize("place", ["../secret.png", "train/../../secret.png", "/etc/secret.png", ""])
def test_paths_that_lead_outside_are_refused(root: Path, place: str) -> None:
    table = write(root / "t.csv", ("path", "label"), [(place, "cat")])
    with pytest.raises(DataError, match=r"Row 1 of .* (leads outside|has no path)"):
        read_table(table)
    if place:
        with outside_allowed():
            assert len(read_table(table).splits["test"]) == 1


def test_backslashes_divide_folders_where_no_file_has_them_in_its_name(root: Path) -> None:
    odd = photo(root / "train\\0.png", 7)
    there = read_table(write(root / "t.csv", ("path",), [("train\\0.png",)])).splits["test"]
    assert there.items.name(0) == str(odd)
    odd.unlink()
    table = read_table(write(root / "t.csv", ("path",), [(ROWS[0][0].replace("/", "\\"),)])).splits["test"]
    assert table.items.name(0) == str(root / ROWS[0][0])
    with pytest.raises(DataError, match="leads outside"):
        read_table(write(root / "t.csv", ("path",), [("..\\secret.png",)]))


def test_a_neighbour_that_begins_alike_is_outside(root: Path) -> None:
    with pytest.raises(DataError, match="leads outside"):
        read_table(write(root / "t.csv", ("path",), [(f"../{root.name}-other/x.png",)]))


@pytest.mark.parametrize(
    "lines",
    [
        "path;label|a.png;cat, big",
        "path\tlabel|a.png\tcat, big",
        'path, label|a.png,"cat, big"',
        "\ufeffpath;label|a.png;cat, big",
        'path;label;"size, in px"|a.png;cat, big;9',
        "path;label|a.png;cat, big;",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, lines: str) -> None:
    (tmp_path / "t.csv").write_text(lines.replace("|", "\r\n"), encoding="utf-8")
    data = read_table(tmp_path / "t.csv")
    assert (data.classes, data["test"].items.name(0)) == (("cat, big",), str(tmp_path / "a.png"))


def test_a_cell_more_than_the_header_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,dog\nb.png,cat, big\n")
    with pytest.raises(DataError, match="row 2 has more cells than the header: put text with ',' in quotes"):
        read_table(tmp_path / "t.csv")


def test_a_tsv_has_tabs(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("path,label\na.png,cat\n")
    with pytest.raises(DataError, match="'path,label' are not separated by tabs"):
        read_table(tmp_path / "t.tsv")


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        (("file", "label"), [("a", "b")], "no column path or filepath .*, only file, label: name"),
        ((), [], "no column path or filepath .*, it is empty: name"),
        (("path", "label"), [], "no rows"),
        (("path", "label"), [("a.png", "")], "Row 1 .* has no label"),
        (("path", "split"), [("a.png", "dev")], "split 'dev'"),
    ],
)
def test_tables_that_cannot_be_used(
    tmp_path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "t.csv", head, rows))


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.csv", b"path,label\n\xff\xfe,a"), ("t.csv", b'path\n"open'), ("t.parquet", b"PAR1 nonsense")],
)
def test_damaged_tables(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_table(tmp_path / name)


def test_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no table"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(UsageError, match="is no table"):
        read_table(tmp_path / "t.xlsx")
