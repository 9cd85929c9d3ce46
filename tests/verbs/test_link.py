from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError

NAMES = ["north mill", "south mill", "old bakery", "new bakery", "river bank", "city bank", "iron works", "glass works"]


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"a{i},{n}\n" for i, n in enumerate([*NAMES, "zzzzzz"])))
    (tmp_path / "b.csv").write_text("id,name\n" + "".join(f"b{i},{n} co\n" for i, n in enumerate(reversed(NAMES))))
    return tmp_path


def test_python_links_tables_and_writes_only_where_it_is_asked_to(tables: Path) -> None:
    pairs = [(f"a{i}", f"b{7 - i}") for i in range(6)]
    with pytest.warns(UserWarning, match="6 labelled records, the nearest is right for 100 %"):
        links = diptych.link("a.csv", "b.csv", pairs=pairs, ids="id", method="string-matching")
    assert [(name, label) for name, label in zip(links.names, links.labels, strict=True)] == [
        (f"a{i}", f"b{7 - i}") for i in range(8)
    ]
    assert next((row["left"], row["right"]) for row in links.as_dict()["links"]) == ("a0", "b7")
    assert len(links.remarks) == 1
    assert sorted(p.name for p in tables.iterdir()) == ["a.csv", "b.csv"]
    with pytest.warns(UserWarning, match="B-cubed precision 100 %"):
        diptych.link(
            "a.csv", "b.csv", pairs=pairs, ids=("id", "id"), method="string-matching", groups="g.csv", out="l.csv"
        )
    assert len(Path("l.csv").read_text().splitlines()) == 9
    assert Path("g.csv").read_text().startswith("table,record,group,text\n")
    with pytest.raises(DiptychError, match=r"^l\.csv exists: give another out= or overwrite=\.$"):
        diptych.link("a.csv", "b.csv", method="string-matching", out="l.csv")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ids": "number"}, r"no column 'number' to name records by, only [^:]+: see ids="),
        ({"pairs": [("x", "b0")], "ids": "id"}, "names 'x', which is in no table: see ids="),
        ({"pairs": [("a0", "b7")], "ids": "id"}, "give at least 5, or threshold="),
        ({"text_columns": ("a", "b", "c")}, "one column for both tables"),
        ({"settings": {"measur": "x"}}, "has no setting 'measur'"),
    ],
)
def test_errors_name_the_arguments_of_python(tables: Path, given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.link("a.csv", "b.csv", method="string-matching", **given)  # type: ignore[arg-type]


def test_labelled_matches_that_name_several_records_are_refused(tables: Path) -> None:
    with Path("b.csv").open("a") as table:
        table.write("b7,a later mill\n")
    with pytest.raises(DiptychError, match=r"Row 2 of pairs= names 'b7', and several records have this id: .* ids= "):
        diptych.link("a.csv", "b.csv", pairs=[("a1", "b6"), ("a0", "b7")], ids="id", method="string-matching")


def test_a_table_that_is_linked_to_itself_says_how_its_repeats_are_shown(tables: Path) -> None:
    with pytest.warns(UserWarning, match=r"9 records are linked to themselves, .* give groups= with threshold="):
        links = diptych.link("a.csv", "a.csv", method="string-matching")
    assert len(links.remarks) == 1


def test_columns_of_pictures_that_are_not_read_are_named_beside_labelled_matches_too(tables: Path) -> None:
    Path("c.csv").write_text("id,name,front\n" + "".join(f"b{i},{n},{i}.jpg\n" for i, n in enumerate(NAMES)))
    pairs = [(f"a{i}", f"b{i}") for i in range(len(NAMES))]
    with pytest.warns(UserWarning, match=r"labelled records|is not read"):
        links = diptych.link("a.csv", "c.csv", pairs=pairs, ids="id", method="string-matching")
    assert links.remarks[0] == "The column front of c.csv names pictures and is not read: give it with image_columns=."
    assert "labelled records" in links.remarks[1]


def test_links_that_nothing_judges_say_so_and_name_columns_of_pictures_that_are_not_read(tables: Path) -> None:
    Path("c.csv").write_text("id,name,front\n" + "".join(f"{i},{n},{i}.jpg\n" for i, n in enumerate(NAMES)))
    with pytest.warns(UserWarning, match=r"right or wrong|is not read"):
        links = diptych.link("a.csv", "c.csv", method="string-matching")
    assert links.remarks == (
        "The column front of c.csv names pictures and is not read: give it with image_columns=.",
        "Each record is linked to the nearest, right or wrong: texts of one table with texts of the other. Known "
        "matches in pairs= tell how many are right, and choose a threshold.",
    )
    with pytest.warns(UserWarning, match="front of c.csv"):
        cut = diptych.link("a.csv", "c.csv", method="string-matching", threshold=0.9)
    assert len(cut.remarks) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_to_one_links_are_judged_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    left, right = ["north mill"] * 4 + ["old bakery", "iron works"], ["north mill", "old bakery", "iron works", "zzzz"]
    (tmp_path / "a.csv").write_text("name\n" + "".join(f"{n}\n" for n in left))
    (tmp_path / "b.csv").write_text("name\n" + "".join(f"{n}\n" for n in right))
    pairs = [(i, max(0, i - 3)) for i in range(6)]
    links = diptych.link("a.csv", "b.csv", pairs=pairs, one_to_one=True, method="string-matching")
    labelled = links.as_dict()["labelled"]
    written = {(k.left, k.right) for k in links}
    assert len(written & set(pairs)) == 3
    assert labelled["nearest_right"] == 1.0
    assert (labelled["linked"], labelled["recall"]) == (len(written), 0.5)
    assert labelled["precision"] == 3 / len(written)
    assert "one-to-one links from the threshold 1.0000 on, which they chose, precision 100 % [44, 100]" in str(links)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_given_threshold_above_all_links_finds_none_and_was_not_chosen(tables: Path) -> None:
    pairs = [(f"a{i}", f"b{7 - i}") for i in range(6)]
    links = diptych.link("a.csv", "b.csv", pairs=pairs, ids="id", method="string-matching", threshold=2.0)
    assert links.remarks == (
        "Of 6 labelled records, the nearest is right for 100 % [61, 100]; from the threshold 2.0000 on, precision of "
        "no link, recall 0 % [0, 39] (95 % intervals).",
    )
