from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.search_index.index import Index
from diptych.tasks.search.ask import search
from diptych.tasks.search.cut import mark
from diptych.tasks.search.index import index
from diptych.tasks.search.marks import read_marks
from diptych.tasks.search.telling import COLUMNS, floor_of, telling, write_telling
from diptych.tasks.search.term import Term
from tests.support.colours import COLOURS, ColourBackbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 100 coloured pictures, some of them pale, with marked answers to 24 queries."""
    base = tmp_path_factory.mktemp("telling")
    rng, lines, kinds = np.random.default_rng(0), ["path,kind"], {}
    for i in range(100):
        name = list(COLOURS)[i % 5]
        share = 0.8 * rng.uniform(0, 1) ** 2
        rgb = (1 - share) * np.array(COLOURS[name]) + share * 128 + rng.normal(size=3)
        Image.fromarray(np.full((8, 8, 3), rgb.clip(0, 255).astype(np.uint8))).save(base / f"{i}.png")
        lines.append(f"{i}.png,{name}")
        kinds[f"{i}.png"] = name
    (base / "photos.csv").write_text("\n".join(lines))
    index(open_records(str(base / "photos.csv")), ColourBackbone(), Run(), base / "index")
    rows = ["query,path,right"]
    for i in range(24):
        colour = list(COLOURS)[i % 5]
        query = f"{colour}{' please' * i}"
        names = [f.entry.name for f in search(base / "index", [Term(query)], ColourBackbone(), Run(), k=30).results]
        rows += [f"{query},{name},{int(kinds[Path(name).name] == colour)}" for name in names]
    (base / "marks.csv").write_text("\n".join(rows))
    mark(base / "index", str(base / "marks.csv"), ColourBackbone(), Run())
    return base


def test_one_answer_each_of_queries_that_nobody_marked_and_that_have_one_above_the_floor(folder: Path) -> None:
    asked = ["red", "a lighthouse", *(f"blue number {i}" for i in range(30))]
    with Index(folder / "index") as opened:
        rows = telling(opened, asked, ColourBackbone(), Run(), count=5)
        floor = floor_of(opened)
    assert len({r.query for r in rows}) == len(rows) == 5
    assert not {"red", "a lighthouse"} & {r.query for r in rows}  # one is marked, the other has no answer
    for row in rows:
        found = search(folder / "index", [Term(row.query)], ColourBackbone(), Run(), k=20).results
        above = [f.entry.name for f in found if f.score >= floor]
        assert row.path in above
        assert row.stands_for == len(above)
        assert row.floor == floor


def test_a_filled_table_adds_marks_that_stand_for_the_answers_above_the_floor(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "index"
    shutil.copytree(folder / "index", copy)
    (tmp_path / "ask.csv").write_text("query,path,right\n" + "".join(f"green number {i},,\n" for i in range(12)))
    before = read_marks(copy)
    report = mark(copy, str(tmp_path / "ask.csv"), ColourBackbone(), Run())
    assert report["asked"] == 12
    assert read_marks(copy) == before
    with Path(report["to_mark"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**r, "right": "1"} for r in rows)
    again = mark(copy, str(filled), ColourBackbone(), Run())
    assert again["queries"] == report["queries"] + 12
    added = read_marks(copy)[len(before) :]
    assert [m.stands_for for m in added] == [float(r["stands_for"]) for r in rows]
    assert all(m.floor == pytest.approx(float(rows[0]["floor"])) for m in added)
    low, high = again["cuts"]["0.5"]["interval"]
    wide = report["cuts"]["0.5"]["interval"]
    assert high - low < wide[1] - wide[0]


def test_there_is_nothing_to_improve_without_a_cut(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "index"
    shutil.copytree(folder / "index", copy)
    (copy / "marks.jsonl").unlink()
    with Index(copy) as opened, pytest.raises(DataError, match="No answers of text queries"):
        telling(opened, ["red"], ColourBackbone(), Run())
    assert write_telling(copy, []).read_text() == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("row", ["red,0.png,1,few,0.2", "red,0.png,1,0,0.2", "red,0.png,1,inf,0.2", "red,0.png,1,3,-7"])
def test_numbers_of_a_table_are_checked(folder: Path, tmp_path: Path, row: str) -> None:
    name = row.replace("0.png", str(folder / "0.png"))
    (tmp_path / "bad.csv").write_text(f"{','.join(COLUMNS)}\n{name}\n")
    with pytest.raises(UsageError, match="which is not a number of at least"):
        mark(folder / "index", str(tmp_path / "bad.csv"), ColourBackbone(), Run())
