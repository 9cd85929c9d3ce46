from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.tasks.search.ask import Term, search
from diptych.tasks.search.cut import mark
from diptych.tasks.search.index import index
from diptych.tasks.search.marks import PEOPLE, read_marks
from tests.support.colours import COLOURS, ColourBackbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 100 coloured pictures with a caption and a class each; the colours of some are blurred to grey."""
    base = tmp_path_factory.mktemp("cut")
    rng, lines = np.random.default_rng(0), ["path,caption,kind"]
    for i in range(100):
        name = list(COLOURS)[i % 5]
        share = rng.uniform(0, 1) ** 2
        rgb = (1 - share) * np.array(COLOURS[name]) + share * 128 + rng.normal(size=3)
        Image.fromarray(np.full((8, 8, 3), rgb.clip(0, 255).astype(np.uint8))).save(base / f"{i}.png")
        lines.append(f"{i}.png,number {i}: something {name},{name}")
    (base / "photos.csv").write_text("\n".join(lines))
    index(open_records(str(base / "photos.csv")), ColourBackbone(), Run(), base / "index")
    return base / "index"


def asked(folder: Path, level: float | None, *terms: Term) -> object:
    return search(folder, terms or [Term("red")], ColourBackbone(), Run(), k=60, at_least=level)


def test_without_marks_a_cut_is_refused_and_a_search_is_not(folder: Path) -> None:
    with pytest.raises(DataError, match="No answers of text queries"):
        asked(folder, 0.8)
    assert len(asked(folder, None).found) == 60  # type: ignore[attr-defined]


def test_five_classes_are_too_few_queries(folder: Path) -> None:
    with pytest.raises(DataError, match="5 queries are marked, and a cut needs 20"):
        mark(folder, "kind", ColourBackbone(), Run())


def test_a_column_of_one_value_says_why_it_marks_nothing(folder: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), name).save(tmp_path / "flat" / f"{name}.png")
    index(open_records(str(tmp_path / "flat")), ColourBackbone(), Run(), tmp_path / "index")
    with pytest.raises(UsageError, match="lie in one folder, so that no answer to it would be wrong: index a folder"):
        mark(tmp_path / "index", "folder", ColourBackbone(), Run())
    with pytest.raises(UsageError, match=r"No entry of .* has 'breed': there is"):
        mark(folder, "breed", ColourBackbone(), Run())


def test_marks_of_people_in_a_table_allow_a_cut(folder: Path, tmp_path: Path) -> None:
    rows = ["query,path,right"]
    for i in range(24):
        colour = list(COLOURS)[i % 5]
        query = f"{colour}, {'please ' * i}".strip()
        found = search(folder, [Term(query)], ColourBackbone(), Run(), k=30).found
        rows += [f'"{query}",{f.entry.name},{int(f.entry.facts["kind"] == colour)}' for f in found]
    table = tmp_path / "marks.csv"
    table.write_text("\n".join(rows))
    report = mark(folder, str(table), ColourBackbone(), Run())
    assert (report["source"], report["marks"], report["queries"]) == (PEOPLE, 720, 24)
    answer = asked(folder, 0.9)
    assert answer.cut is not None  # type: ignore[attr-defined]
    shown = answer.as_dict()  # type: ignore[attr-defined]
    realised = np.mean([r["metadata"]["kind"] == "red" for r in shown["results"]])
    low, high = shown["cut"]["interval"]
    assert low - 0.1 <= realised <= high + 0.1
    assert 0 < len(shown["results"]) < 60
    assert all(0 <= r["right"] <= 1 for r in shown["results"])
    assert shown["cut"]["source"] == PEOPLE
    with pytest.raises(DataError, match="only those of text"):
        asked(folder, 0.9, Term("picture", photo=Image.new("RGB", (8, 8), "red")))
    with pytest.raises(UsageError, match="lies in"):
        asked(folder, 80.0)


def test_captions_mark_their_own_pictures(folder: Path) -> None:
    report = mark(folder, "captions", ColourBackbone(), Run())
    assert report["queries"] >= 24
    own = [m for m in read_marks(folder) if m.source == "captions"]
    assert len(own) == 100 * 20
    assert 0 < sum(bool(m.right) for m in own) <= 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query,path\na,b", "columns query, path and right"),
        ("query,path,right\nred,/no/such.png,1", "is no entry"),
        ("query,path,right\nred,0.png,maybe", "the last 1 or 0"),
        ("", "columns query, path and right"),
    ],
)
def test_other_tables_are_refused(folder: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        mark(folder, str(tmp_path / "bad.csv"), ColourBackbone(), Run())
    with pytest.raises(UsageError, match="No entry of"):
        mark(folder, "no_such_column", ColourBackbone(), Run())
