from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.tasks.search.ask import search
from diptych.tasks.search.cut import mark
from diptych.tasks.search.index import index
from diptych.tasks.search.marks import PEOPLE, read_marks
from diptych.tasks.search.term import Term
from tests.support.colours import COLOURS, ColourBackbone, pale_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 100 coloured pictures with a caption and a class each; some of them pale."""
    base = tmp_path_factory.mktemp("cut")
    index(open_records(str(pale_table(base))), ColourBackbone(), Run(), base / "index")
    return base / "index"


def asked(folder: Path, level: float | None, *terms: Term) -> object:
    return search(folder, terms or [Term("red")], ColourBackbone(), Run(), k=60, at_least=level)


def test_without_marks_a_cut_is_refused_and_a_search_is_not(folder: Path) -> None:
    with pytest.raises(DataError, match="No answers of text queries"):
        asked(folder, 0.8)
    assert len(asked(folder, None).results) == 60  # type: ignore[attr-defined]


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
        found = search(folder, [Term(query)], ColourBackbone(), Run(), k=30).results
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
    assert shown["nothing_here"] is False
    assert shown["cut"]["words"] == 400
    assert shown["cut"]["absent"] <= 0.1
    assert shown["cut"]["source"] == PEOPLE
    with pytest.raises(DataError, match="only those of text"):
        asked(folder, 0.9, Term("picture", photo=Image.new("RGB", (8, 8), "red")))
    with pytest.raises(UsageError, match="must be in"):
        asked(folder, 80.0)


def test_captions_mark_their_own_pictures(folder: Path) -> None:
    report = mark(folder, "captions", ColourBackbone(), Run())
    assert report["queries"] >= 24
    own = [m for m in read_marks(folder) if m.source == "captions"]
    assert len(own) == 100 * 36
    assert [m.rank for m in own[:20]] == list(range(1, 21))
    assert max(m.rank for m in own) > 90
    scores = [m.score for m in own[:36]]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert 0 < len({m.query for m in own if m.right}) <= 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query,path\na,b", "columns query, path and right"),
        ("query,path,right\nred,/no/such.png,1", "is not an entry"),
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


def test_what_is_not_there_has_no_answer_and_that_is_a_result(folder: Path, tmp_path: Path) -> None:
    """Words that are no colours are grey: as near to pale pictures as to bright ones, and far from both."""
    plain = asked(folder, None, Term("a lighthouse"))
    assert len(plain.results) == 60  # type: ignore[attr-defined]
    answer = asked(folder, 0.9, Term("a lighthouse"))
    assert answer.results == ()  # type: ignore[attr-defined]
    shown = answer.as_dict()  # type: ignore[attr-defined]
    assert (shown["results"], shown["nothing_here"]) == ([], True)
    assert answer.nothing == "Nothing here looks like that: no answer lies above the cut at 0.9."  # type: ignore[attr-defined]
    other = search(folder, [Term("red")], ColourBackbone(), Run(), where=["kind=mauve"], at_least=0.9)
    assert (other.nothing, other.as_dict()["nothing_here"]) == ("Nothing meets the conditions.", False)


def test_answers_below_the_depth_that_is_marked_are_left_out(folder: Path) -> None:
    answer = search(folder, [Term("red")], ColourBackbone(), Run(), k=60, at_least=0.9)
    assert answer.cut is not None
    assert len(answer.results) <= answer.cut.cut.depth == 30  # of 30 marked answers to each query


def test_marks_of_an_earlier_version_are_taken_again_with_their_scores(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    marks = [m for m in read_marks(copy) if m.source == PEOPLE]
    rows = [{**asdict(m), "x": 1.0} for m in marks]
    lines = [json.dumps({k: v for k, v in row.items() if k not in ("score", "rank")}) for row in rows]
    (copy / "marks.jsonl").write_text("\n".join(lines) + "\n")
    (copy / "absent.json").unlink()
    with pytest.raises(DataError, match="by an earlier version"):
        asked(copy, 0.9)
    report = mark(copy, "people", ColourBackbone(), Run())
    assert (report["marks"], report["queries"]) == (720, 24)
    again = {(m.query, m.path): (m.score, m.rank) for m in read_marks(copy)}
    for m in marks:
        score, rank = again[m.query, m.path]
        assert score == pytest.approx(m.score, abs=1e-6)
        assert abs(rank - m.rank) <= 1
