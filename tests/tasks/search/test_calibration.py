from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DamagedStore, DataError
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.absent import FILE as ABSENT
from diptych.tasks.search.ask import ask
from diptych.tasks.search.calibration import calibrated, calibration
from diptych.tasks.search.marks import CAPTIONS, FILE, PEOPLE, Mark, add_marks, read_marks
from diptych.tasks.search.report import report
from diptych.tasks.search.term import Term
from tests.tasks.search.test_default_cut import facts


def test_marks_of_people_count_before_others_where_they_are_enough() -> None:
    def marks(source: str, queries: int) -> list[Mark]:
        rows = [(q, i) for q in range(queries) for i in range(10)]
        return [Mark(f"q{q}", "text", "image 1", str(i), float(i), i > 4, source) for q, i in rows]

    few, many = marks(PEOPLE, 3), marks("captions", 24)
    weights = {"image": 1.0}
    assert calibrated([*few, *many], "text", weights).source == "captions"  # type: ignore[arg-type]
    assert calibrated([*marks(PEOPLE, 20), *many], "text", weights).source == PEOPLE  # type: ignore[arg-type]
    with pytest.raises(DataError, match="3 queries are marked"):
        calibrated(few, "text", weights)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"only those of text \(image 1\)"):
        calibrated(many, "image", weights)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="No answers of text queries"):
        calibrated(many, "text", {"image": 0.5, "text": 0.5})


def indexed(folder: Path, entries: int = 60) -> Index:
    index = Index.create(folder, {"dim": 3, "fingerprint": "x", "backbone": "other"})
    vectors = np.random.default_rng(0).normal(size=(entries, 3)).astype(np.float32)
    index.add([Entry(str(i)) for i in range(entries)], {"image": (np.arange(entries), vectors)})
    return index


def marked(queries: int = 24) -> list[Mark]:
    rows = [(q, i) for q in range(queries) for i in range(10)]
    return [Mark(f"q{q}", "text", "image 1", str(i), 0.1 * i, i > 4, PEOPLE, 1 + i) for q, i in rows]


def test_marks_of_an_earlier_version_open_and_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """They kept how far a score stood out, and not the score: nothing tells from it whether a thing is there."""
    old = [{**asdict(m), "x": m.score} for m in marked()]
    lines = [json.dumps({k: v for k, v in row.items() if k not in ("score", "rank")}) + "\n" for row in old]
    with indexed(tmp_path / "index") as index:
        (index.folder / FILE).write_text("".join(lines))
        assert [m.score for m in read_marks(index.folder)] == [None] * 240
        with pytest.raises(DataError, match=r"by an earlier version, which did not keep .* --cut people"):
            calibration(index, "text", {"image": 1.0})


def test_without_words_for_absent_things_nothing_is_promised(tmp_path: Path) -> None:
    words = {"schema": 1, "entries": 60, "words": ["ant"] * 100, "ranks": [1, 2], "scores": [[0.1, None]] * 100}
    with indexed(tmp_path / "index") as index:
        add_marks(index.folder, marked())
        with pytest.raises(DataError, match="not known yet: draw some with 'diptych index --cut people"):
            calibration(index, "text", {"image": 1.0})
        (index.folder / ABSENT).write_text(json.dumps(words))
        assert calibration(index, "text", {"image": 1.0}).source == PEOPLE
        (index.folder / ABSENT).write_text(json.dumps({**words, "entries": 20}))
        with pytest.raises(DataError, match="has grown from 20 to 60 entries since"):
            calibration(index, "text", {"image": 1.0})
        for damaged in ({**words, "ranks": []}, {**words, "scores": [[1, 2, 3]]}, {**words, "schema": 2}, [1]):
            (index.folder / ABSENT).write_text(json.dumps(damaged))
            with pytest.raises(DamagedStore, match=r"absent\.json is damaged: remove it, and mark answers again"):
                calibration(index, "text", {"image": 1.0})


def test_marks_of_pictures_need_no_words(tmp_path: Path) -> None:
    with indexed(tmp_path / "index") as index:
        add_marks(index.folder, [replace(m, kind="image") for m in marked()])
        assert calibration(index, "image", {"image": 1.0}).marks.cut(0.8).absent is None


@pytest.mark.parametrize("source", [CAPTIONS, "label", PEOPLE])
def test_where_captions_reach_no_level_the_default_speaks_and_nobody_else_is_overruled(
    tmp_path: Path, source: str
) -> None:
    """Of 110 photos that five captions fit, only the caption's own counted as right: "a dog" was refused at 0.5."""
    low = [
        Mark(f"a dog on grass {q}", "text", "image 1", str(i), 0.9 - 0.04 * i, i == 7, source, 1 + i)
        for q in range(24)
        for i in range(10)
    ]
    words = {"schema": 1, "entries": 60, "words": ["ant"] * 100, "ranks": [1, 2], "scores": [[0.1, None]] * 100}
    angles = np.linspace(0, 1.5, 60)
    vectors = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32)
    with Index.create(tmp_path / "index", facts()) as index:
        index.add([Entry(str(i)) for i in range(60)], {"image": (np.arange(60), vectors)})
        add_marks(index.folder, low)
        (index.folder / ABSENT).write_text(json.dumps(words))
        fitted, terms = calibration(index, "text", {"image": 1.0}), (Term("a dog"),)
        assert fitted.source == source
        query = np.array([1, 0, 0], np.float32)
        if source != CAPTIONS:
            with pytest.raises(DataError, match=r"No cut reaches 0\.5 here"):
                ask(index, query, terms, "lite", at_least=0.5)
            return
        cut = ask(index, query, terms, "lite", at_least=0.5).cut
        assert cut is not None
        assert (cut.source, cut.cut.level, len(cut.shares)) == ("default of lite", 0.5, 10)
        with pytest.raises(DataError, match=r"No cut reaches 0\.9 here: the surest marked"):
            ask(index, query, terms, "lite", at_least=0.9)
    cuts = report(tmp_path / "index", source)["cuts"]
    assert [cuts["0.5"]["by"], cuts["0.7"]["by"]] == ["default of lite"] * 2
    assert "No cut reaches 0.8" in cuts["0.8"]
