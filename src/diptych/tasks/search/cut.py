"""Marks for the cut of an index: from a table of people, from captions, or from a column of labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, DataError, Run, Texts, UsageError
from diptych.data.words.classnames import tidy
from diptych.features.embed import embed_arrays
from diptych.features.unit_rows import unit_rows
from diptych.search_index.index import Index, Vectors
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry, Modality
from diptych.tasks.search.index import fingerprint
from diptych.tasks.search.marks import PEOPLE, Mark, calibrated, read_marks, replace_marks, standard, weights_key

QUERIES, ANSWERS = 200, 20
"""Most queries that are drawn from captions or a column, and the first answers of each that are marked."""
PICTURES: Mapping[Modality, float] = {"image": 1.0}
TRUE, FALSE = ("1", "yes", "true", "right"), ("0", "no", "false", "wrong")


def mark(folder: Path, what: str, backbone: Backbone, run: Run) -> dict[str, Any]:
    """Mark answers of an index, so that ``search --at-least`` can cut them.

    Args:
        folder: the index.
        what: "captions": the picture of a caption is right, every other one wrong; a column of the metadata: its values
            are queries, and entries with the value are right; or a .csv file with query, path and right (1 or 0).
        backbone: of the index.
        run: device, cache and seed.

    Returns:
        "source", "marks", "queries", "right", and "cuts": level -> share and interval, or why there is none.

    Raises:
        UsageError: another backbone, no such file or column, or a table of another form.
        DataError: the marks are too few.
    """
    with Index(folder) as index:
        index.expect(fingerprint(backbone, run), backbone.spec.name)
        if Path(what).suffix.lower() == ".csv":
            source, marks = PEOPLE, _of_table(index, Path(what), backbone, run)
        elif what == "captions":
            source, marks = what, _of_captions(index, backbone, run)
        else:
            source, marks = what, _of_column(index, what, backbone, run)
    replace_marks(folder, source, marks)
    return {"source": source, **report(folder)}


def report(folder: Path) -> dict[str, Any]:
    """Return what the marks of word queries on pictures allow, as plain data.

    Raises:
        DataError: there are none, or too few.
    """
    fitted = calibrated(read_marks(folder), "text", PICTURES)
    cuts: dict[str, Any] = {}
    for level in (0.5, 0.7, 0.8, 0.9):
        try:
            cut = fitted.marks.cut(level)
            cuts[f"{level:g}"] = {"share": cut.share, "interval": [cut.low, cut.high], "above": cut.above}
        except DataError as error:
            cuts[f"{level:g}"] = str(error)
    right = int(fitted.marks.right.sum())
    return {"marks": len(fitted.marks.x), "queries": fitted.marks.queries, "right": right, "cuts": cuts}


def _of_captions(index: Index, backbone: Backbone, run: Run) -> list[Mark]:
    entries = [e for e in _entries(index) if e.caption and e.key]
    if not entries:
        raise UsageError(f"No picture of {index.folder} has a caption: mark answers with a .csv file.")
    first = {e.caption: e for e in entries}
    chosen = _drawn(sorted(first), run)
    return _answers(index, chosen, [{first[c].key} for c in chosen], lambda e: e.key, "captions", backbone, run)


def _of_column(index: Index, column: str, backbone: Backbone, run: Run) -> list[Mark]:
    def value(entry: Entry) -> str:
        said = str(entry.facts.get(column, ""))
        return Path(said).name if column == "folder" else said  # "train/cat" and "test/cat" are one class

    values = sorted({v for e in _entries(index) if (v := value(e))})
    if not values and column not in index.columns():
        raise UsageError(f"No entry of {index.folder} has {column!r}: there is {', '.join(index.columns())}.")
    if len(values) < 2:
        where = "lie in one folder" if column == "folder" else f"have one {column}" if values else f"have no {column}"
        raise UsageError(
            f"All entries of {index.folder} {where}, so that no answer to it would be wrong: index a folder for each "
            f"kind of photo, name a column with several values, or give a .csv file with query, path and right."
        )
    chosen = _drawn(values, run)
    return _answers(index, chosen, [{v} for v in chosen], value, column, backbone, run)


def _of_table(index: Index, path: Path, backbone: Backbone, run: Run) -> list[Mark]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({error}): give a table with query, path and right.") from None
    wrong = next((r for r in rows if not {"query", "path", "right"} <= r.keys()), None)
    bad = next((r for r in rows if not wrong and str(r["right"]).strip().lower() not in (*TRUE, *FALSE)), None)
    if wrong is not None or bad is not None or not rows:
        raise UsageError(f"{path} is no table of marks: it needs columns query, path and right, the last 1 or 0.")
    by_name = {e.name: (i, e) for i, e in _by_id(index).items()}
    lost = next((r["path"] for r in rows if _known(r["path"], by_name) is None), None)
    if lost is not None:
        raise UsageError(f"{lost} of {path} is no entry of {index.folder}: give paths as 'diptych search' prints them.")
    queries = list(dict.fromkeys(str(r["query"]).strip() for r in rows))
    vectors, marks = _encoded(queries, backbone, run), list[Mark]()
    for query, vector in zip(queries, vectors, strict=True):
        own = [r for r in rows if str(r["query"]).strip() == query]
        names = [str(_known(r["path"], by_name)) for r in own]
        slots = index.slots([by_name[name][0] for name in names])
        if lacking := next((n for n, slot in zip(names, slots, strict=True) if slot < 0), None):
            raise UsageError(f"{lacking} of {path} has no picture, and marks are of pictures: leave it out.")
        x = standard(index, vector, PICTURES, (index.vectors("image")[slots] @ vector).tolist())
        marks += [
            Mark(query, "text", weights_key(PICTURES), n, float(v), str(r["right"]).strip().lower() in TRUE)
            for n, v, r in zip(names, x, own, strict=True)
        ]
    return marks


def _answers(
    index: Index, words: Sequence[str], right: Sequence[set[str]], value: Any, source: str, backbone: Backbone, run: Run
) -> list[Mark]:
    """Return marks of the first answers of each query, right where the value of an entry is one of the query's."""
    asked = [tidy(w) if source != "captions" else w for w in words]
    marks = []
    for text, good, vector in zip(asked, right, _encoded(asked, backbone, run), strict=True):
        found = nearest(index, vector, ANSWERS, PICTURES, exact=True)
        x = standard(index, vector, PICTURES, [f.score for f in found])
        marks += [
            Mark(text, "text", weights_key(PICTURES), f.entry.name, float(v), value(f.entry) in good, source)
            for f, v in zip(found, x, strict=True)
        ]
    return marks


def _encoded(texts: Sequence[str], backbone: Backbone, run: Run) -> Vectors:
    values = embed_arrays(backbone.text, Texts(tuple(texts)), run).values[:, 0].astype(np.float64)
    return unit_rows(values).astype(np.float32)


def _drawn(values: Sequence[str], run: Run) -> list[str]:
    order: NDArray[np.int64] = np.random.default_rng(run.integer("queries of a cut")).permutation(len(values))
    return [values[i] for i in sorted(order[:QUERIES].tolist())]


def _by_id(index: Index) -> dict[int, Entry]:
    rows = list(index.places("image"))
    if not rows:
        raise DataError(f"{index.folder} holds no pictures, and a cut is made for searches of pictures.")
    return index.entries(np.concatenate(rows)[:, 0].tolist())


def _entries(index: Index) -> list[Entry]:
    return list(_by_id(index).values())


def _known(path: object, by_name: Mapping[str, Any]) -> str | None:
    """Return the name of an entry for a path as it was given, or as a whole path."""
    return next((name for name in (str(path), str(Path(str(path)).absolute())) if name in by_name), None)
