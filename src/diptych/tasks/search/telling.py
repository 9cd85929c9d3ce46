"""Which answers of an index people should mark next: those whose mark tells most about a cut.

A query without an answer above the cut says nothing about what lies above it, and a second answer of one query says
less than the first of another. So one answer each of queries that nobody marked is asked for, drawn from those of its
first answers that lie at or above a floor: the lowest cut that is of interest. The mark stands for all of these.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.core import Backbone, DataError, Run
from diptych.data.files import database_address, write_whole
from diptych.metrics.cut import STRATA
from diptych.search_index.nearest import nearest
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Modality
from diptych.tasks.search.absent import encoded
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.marks import PEOPLE, read_marks

FILE = "to_mark.csv"
COLUMNS = ("query", "path", "right", "stands_for", "floor")
COUNT, LEVEL = 20, 0.5
"""Answers that are asked for at once, and the level of the lowest cut that is of interest."""
PICTURES: Mapping[Modality, float] = {"image": 1.0}


@dataclass(frozen=True)
class Telling:
    """An answer to be marked.

    Args:
        path: of the entry.
        stands_for: number of answers of the query, of the first 20, at or above the floor.
        floor: a score.
    """

    query: str
    path: str
    stands_for: int
    floor: float


def telling(index: AnyIndex, queries: Sequence[str], backbone: Backbone, run: Run, count: int = COUNT) -> list[Telling]:
    """Return answers to be marked, one each of queries that nobody marked; [] where none has an answer above the floor.

    Raises:
        DataError: there is no cut yet that could be improved.
    """
    marked = {m.query for m in read_marks(index.folder) if m.source == PEOPLE}
    left = [q for q in dict.fromkeys(queries) if q not in marked]
    floor = floor_of(index)
    rng, chosen = np.random.default_rng(run.integer("telling answers")), list[Telling]()
    order = rng.permutation(len(left)).tolist()
    for first in range(0, len(order), 4 * count):
        some = [left[i] for i in order[first : first + 4 * count]]
        for query, vector in zip(some, encoded(some, backbone, run), strict=True):
            answers = nearest(index, vector, STRATA[0], PICTURES, exact=True)
            place, above = drawn([f.score for f in answers], floor, rng)
            if above and len(chosen) < count:
                chosen.append(Telling(query, answers[place].entry.name, above, floor))
    return chosen


def drawn(scores: Sequence[float], floor: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return the place of one of the answers at or above a floor, and the number of these.

    Args:
        scores: of the first answers to a query, descending.
        floor: a score.
        rng: draws.
    """
    above = int((np.asarray(scores) >= floor).sum())
    return (int(rng.integers(above)) if above else -1), above


def floor_of(index: AnyIndex) -> float:
    """Return the lowest cut that is of interest.

    Raises:
        DataError: there is no cut yet.
    """
    fitted = calibration(index, "text", PICTURES)
    for level in (LEVEL, 0.6, 0.7, 0.8, 0.9):
        try:
            return fitted.at(level)[1].threshold
        except DataError as error:
            failure = error
    raise failure


def write_telling(folder: Path, rows: Sequence[Telling]) -> Path:
    """Write the answers to be marked as a table, with a column to be filled in, and return its path: in the folder of
    the index, or in the working folder for an index in a database.
    """
    folder = folder if database_address(folder) is None else Path()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row.query, row.path, "", row.stands_for, f"{row.floor:.6f}"] for row in rows)
    write_whole(folder / FILE, text.getvalue(), overwrite=True)
    return folder / FILE
