"""Marks for the cut of an index: from a table of people, from captions, or from a column of labels."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, DataError, Run, UsageError
from diptych.core.wording import columns_there
from diptych.data.words.classnames import tidy
from diptych.metrics.cut import STRATA
from diptych.search_index.described import Vectors
from diptych.search_index.nearest import nearest
from diptych.search_index.opening import AnyIndex, index_at
from diptych.search_index.rows import Entry, Modality
from diptych.tasks.search.absent import GROWN, draw_absent, encoded, read_absent
from diptych.tasks.search.default_cut import default_cut
from diptych.tasks.search.index import fingerprint
from diptych.tasks.search.marks import CAPTIONS, PEOPLE, Mark, add_marks, read_marks, replace_marks, weights_key
from diptych.tasks.search.report import report
from diptych.tasks.search.telling import telling, write_telling

QUERIES = 200
"""Most queries that are drawn from captions or a column."""
SAMPLED = (STRATA[0], 6, 10)
"""Answers of a query that are marked in each of ``STRATA``: all of the first ones, some below."""
PICTURES: Mapping[Modality, float] = {"image": 1.0}
TRUE, FALSE = ("1", "yes", "true", "right"), ("0", "no", "false", "wrong")


def mark(folder: Path, what: str, backbone: Backbone, run: Run) -> dict[str, Any]:
    """Mark answers of an index, and draw words for things that it does not show, so that a search can cut its answers.

    Args:
        folder: the index.
        what: "captions": the picture of a caption is right, every other one wrong; a column of the metadata: its values
            are queries, and entries with the value are right; a .csv file with query, path and right (1 or 0), where
            queries without path and right ask for the answers that tell most, see ``tasks.search.telling``; or
            "people": what people marked on the page stays, and words are drawn.
        backbone: of the index.
        run: device, cache and seed.

    Returns:
        What ``report`` returns; where a table asks, "to_mark": a table to be filled in, and "asked": its rows.

    Raises:
        UsageError: another backbone, no such file or column, or a table of another form.
        DataError: the marks are too few.
    """
    with index_at(folder) as index:
        index.expect(fingerprint(backbone, run), backbone.spec.name)
        if table := Path(what).suffix.lower() == ".csv":
            rows = _rows(Path(what))
            source, marks = PEOPLE, _of_table(index, Path(what), [r for r in rows if r["right"]], backbone, run)
        elif what == CAPTIONS:
            source, marks = what, _of_captions(index, backbone, run)
        elif what == PEOPLE:
            source, marks = what, _renewed(index, backbone, run)
        else:
            source, marks = what, _of_column(index, what, backbone, run)
        present = {m.query for m in (*marks, *read_marks(folder)) if m.right}
        draw_absent(index, backbone, run, sorted(present))
        if table and (not marks or any(m.stands_for is not None for m in marks)):
            add_marks(folder, marks)
        else:
            replace_marks(folder, source, marks)
        left = [r["query"] for r in rows if not r["right"]] if table else []
        ahead = telling(index, left, backbone, run) if left else []
    return report(folder, source) | (
        {"to_mark": str(write_telling(folder, ahead)), "asked": len(ahead)} if left else {}
    )


def draw_words(folder: Path, backbone: Backbone | CachedBackbone, run: Run) -> bool:
    """Draw words for an index that nobody marked, whose backbone has a default cut, where it has none or has outgrown
    them, and say whether this was done: the cut then holds for what this index shows.

    Args:
        folder: the index.
        backbone: of the index; a remembered one, where it encodes texts without torch.
        run: device, cache and seed.
    """
    with index_at(folder) as index:
        default, count = default_cut(index.facts), len(index)
        if default is None or not 0 < count <= default.most or not len(index.vectors("image")) or read_marks(folder):
            return False
        known = read_absent(folder)
        if known is not None and count <= GROWN * known.entries:
            return False
        draw_absent(index, backbone, run)
    return True


def _of_captions(index: AnyIndex, backbone: Backbone, run: Run) -> list[Mark]:
    entries = [e for e in _entries(index) if e.caption and e.key]
    if not entries:
        raise UsageError(f"No picture of {index.folder} has a caption: mark answers with a .csv file.")
    first = {e.caption: e for e in entries}
    chosen = _drawn(sorted(first), run)
    return marked_answers(index, chosen, [{first[c].key} for c in chosen], lambda e: e.key, CAPTIONS, backbone, run)


def _of_column(index: AnyIndex, column: str, backbone: Backbone, run: Run) -> list[Mark]:
    def value(entry: Entry) -> str:
        text = str(entry.facts.get(column, ""))
        return Path(text).name if column == "folder" else text  # "train/cat" and "test/cat" are one class

    values = sorted({v for e in _entries(index) if (v := value(e))})
    if not values and column not in index.columns():
        raise UsageError(f"No entry of {index.folder} has {column!r}: there is {columns_there(index.columns())}.")
    if len(values) < 2:
        where = "lie in one folder" if column == "folder" else f"have one {column}" if values else f"have no {column}"
        raise UsageError(
            f"All entries of {index.folder} {where}, so that no answer to it would be wrong: index a folder for each "
            f"kind of photo, name a column with several values, or give a .csv file with query, path and right."
        )
    chosen = _drawn(values, run)
    return marked_answers(index, chosen, [{v} for v in chosen], value, column, backbone, run)


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of marks, without spaces around their cells."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{k: (v or "").strip() for k, v in r.items() if isinstance(k, str)} for r in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({error}): give a table with query, path and right.") from None
    wrong = next((r for r in rows if not {"query", "path", "right"} <= r.keys() or not r["query"]), None)
    bad = next((r for r in rows if not wrong and r["right"].lower() not in (*TRUE, *FALSE, "")), None)
    if wrong is not None or bad is not None or not rows:
        raise UsageError(
            f"{path} is not a table of marks: it needs columns query, path and right, the last 1 or 0, or empty to "
            f"ask for an answer."
        )
    return rows


def _of_table(index: AnyIndex, path: Path, rows: list[dict[str, str]], backbone: Backbone, run: Run) -> list[Mark]:
    if not rows:
        return []
    by_name = {e.name: (i, e) for i, e in _by_id(index).items()}
    lost = next((r["path"] for r in rows if _known(r["path"], by_name) is None), None)
    if lost is not None:
        raise UsageError(
            f"{lost} of {path} is not an entry of {index.folder}: give paths as 'diptych search' prints them."
        )
    queries = list(dict.fromkeys(r["query"] for r in rows))
    vectors, marks = encoded(queries, backbone, run), list[Mark]()
    for query, vector in zip(queries, vectors, strict=True):
        of_query = [r for r in rows if r["query"] == query]
        names = [str(_known(r["path"], by_name)) for r in of_query]
        slots = index.slots([by_name[name][0] for name in names])
        if lacking := next((n for n, slot in zip(names, slots, strict=True) if slot < 0), None):
            raise UsageError(f"{lacking} of {path} has no picture, and marks are of pictures: leave it out.")
        scores = (index.vectors("image")[slots] @ vector).tolist()
        ranks = _ranks(index, vector, scores)
        marks += [
            Mark(
                query, "text", weights_key(PICTURES), n, v, r["right"].lower() in TRUE, rank=rank,
                stands_for=_number(path, r, "stands_for", 1), floor=_number(path, r, "floor", -1),
            )
            for n, v, r, rank in zip(names, scores, of_query, ranks, strict=True)
        ]  # fmt: skip
    return marks


def _number(path: Path, row: Mapping[str, str], column: str, least: float) -> float | None:
    """Return a number of a table; None where it has none."""
    try:
        value = float(row[column]) if row.get(column) else None
    except ValueError:
        value = math.nan
    if value is not None and not least <= value < math.inf:
        raise UsageError(
            f"{path} has {column} {row[column]!r}, which is not a number of at least {least:g}: take it out."
        )
    return value


def _renewed(index: AnyIndex, backbone: Backbone, run: Run) -> list[Mark]:
    """Return the marks of people with their scores, which earlier versions did not keep; of entries that are gone, and
    of queries with pictures without a score, there are none.
    """
    held = [m for m in read_marks(index.folder) if m.source == PEOPLE]
    old = [m for m in held if m.score is None and m.kind == "text" and m.weights == weights_key(PICTURES)]
    numbers, marks = index.numbers([m.path for m in old]), [m for m in held if m.score is not None]
    queries = list(dict.fromkeys(m.query for m in old))
    for query, vector in zip(queries, encoded(queries, backbone, run) if queries else (), strict=True):
        renewed = [m for m in old if m.query == query and m.path in numbers]
        slots = index.slots([numbers[m.path] for m in renewed])
        renewed = [m for m, slot in zip(renewed, slots, strict=True) if slot >= 0]
        scores = (index.vectors("image")[slots[slots >= 0]] @ vector).tolist()
        ranks = _ranks(index, vector, scores)
        marks += [replace(m, score=v, rank=r) for m, v, r in zip(renewed, scores, ranks, strict=True)]
    return marks


def _ranks(index: AnyIndex, vector: Vectors, scores: Sequence[float]) -> list[int]:
    """Return the ranks of entries with these scores among all pictures, from 1."""
    higher = np.zeros(len(scores), dtype=np.int64)
    for part in index.blocks("image"):
        block = np.sort(part @ vector)
        higher += len(block) - np.searchsorted(block, np.asarray(scores, dtype=np.float32), side="right")
    return (1 + higher).tolist()


def marked_answers(
    index: AnyIndex,
    words: Sequence[str],
    right: Sequence[set[str]],
    value: Any,
    source: str,
    backbone: Backbone,
    run: Run,
) -> list[Mark]:
    """Return marks of answers to each query, right where the value of an entry is one of the query's: all of the first
    ones, and a sample of those below.
    """
    texts = [tidy(w) if source != CAPTIONS else w for w in words]
    rng, marks = np.random.default_rng(run.integer("answers of a cut")), []
    for text, good, vector in zip(texts, right, encoded(texts, backbone, run), strict=True):
        answers = nearest(index, vector, STRATA[-1], PICTURES, exact=True)
        marks += [
            Mark(
                text, "text", weights_key(PICTURES), answers[rank - 1].entry.name, answers[rank - 1].score,
                value(answers[rank - 1].entry) in good, source, rank,
            )
            for rank in sampled_ranks(len(answers), rng)
        ]  # fmt: skip
    return marks


def sampled_ranks(answers: int, rng: np.random.Generator) -> list[int]:
    """Return ascending ranks of answers to mark: all of the first ones, and some of each stratum below.

    Example:
        >>> ranks = sampled_ranks(200, np.random.default_rng(0))
        >>> len(ranks), ranks[:20] == list(range(1, 21)), sum(20 < r <= 50 for r in ranks), max(ranks) <= 200
        (36, True, 6, True)
    """
    ranks, before = list[int](), 0
    for last, count in zip(STRATA, SAMPLED, strict=True):
        inside = np.arange(before + 1, min(last, answers) + 1)
        ranks += sorted(rng.choice(inside, min(count, len(inside)), replace=False).tolist())
        before = last
    return ranks


def _drawn(values: Sequence[str], run: Run) -> list[str]:
    order: NDArray[np.int64] = np.random.default_rng(run.integer("queries of a cut")).permutation(len(values))
    return [values[i] for i in sorted(order[:QUERIES].tolist())]


def _by_id(index: AnyIndex) -> dict[int, Entry]:
    rows = list(index.places("image"))
    if not rows:
        raise DataError(f"{index.folder} holds no pictures, and a cut is made for searches of pictures.")
    return index.entries(np.concatenate(rows)[:, 0].tolist())


def _entries(index: AnyIndex) -> list[Entry]:
    return list(_by_id(index).values())


def _known(path: object, by_name: Mapping[str, Any]) -> str | None:
    """Return the name of an entry for a path as it was given, or as a whole path."""
    return next((name for name in (str(path), str(Path(str(path)).absolute())) if name in by_name), None)
