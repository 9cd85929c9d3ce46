"""Marks of answers of an index, right or wrong, and the cut that they allow.

folder/marks.jsonl      a line a mark; of two for the same query and entry the later one counts
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core import DamagedStore, DataError
from diptych.data.files import append, escaped, locked, write_whole
from diptych.metrics.cut import Cut, Marks, standard_scores
from diptych.search_index.index import Index, Vectors
from diptych.search_index.rows import MODALITIES, Modality

Kind = Literal["text", "image", "both"]
FILE = "marks.jsonl"
PEOPLE = "people"
SAMPLE = 2000
"""Entries that stand for the whole index where it is asked how far a score stands out."""
LEAST_ENTRIES = 50
"""Entries below which nothing can stand out (our choice)."""


@dataclass(frozen=True)
class Mark:
    """What was said about one answer.

    Args:
        query: as it was asked, in words.
        kind: what the query was made of: words, pictures, or both.
        weights: what counted how much, see ``weights_key``.
        path: name of the entry.
        right: whether it is right; None takes a mark back.
        source: who said so: ``PEOPLE``, "captions", or a column.
    """

    query: str
    kind: Kind
    weights: str
    path: str
    x: float
    right: bool | None
    source: str = PEOPLE


@dataclass(frozen=True)
class Calibrated:
    """The marks that fit a query."""

    marks: Marks
    source: str


@dataclass(frozen=True)
class CutAnswers:
    """How answers were cut.

    Args:
        source: who marked the answers that it was fitted on.
        shares: probability that each answer above the cut is right.
    """

    cut: Cut
    source: str
    shares: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        facts = {name: value for name, value in asdict(self.cut).items() if name not in ("low", "high")}
        return {**facts, "interval": [self.cut.low, self.cut.high], "source": self.source}


def weights_key(weights: Mapping[Modality, float]) -> str:
    """Return the weights of pictures and captions as a text, such as "image 0.7 text 0.3"."""
    total = sum(abs(w) for w in weights.values())
    return " ".join(f"{m} {weights[m] / total:.3g}" for m in MODALITIES if weights.get(m))


def read_marks(folder: Path) -> list[Mark]:
    """Return the marks of an index that count.

    Raises:
        DamagedStore: a line is no mark.
    """
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    marks: dict[tuple[str, str, str, str], Mark] = {}
    for number, line in enumerate(lines, 1):
        try:
            mark = Mark(**json.loads(line))
        except (ValueError, TypeError):
            if number == len(lines):
                break  # a writer was killed
            raise DamagedStore(f"{folder / FILE}, line {number} is no mark: remove the line.") from None
        key = (mark.source, mark.query, mark.weights, mark.path)
        marks.pop(key, None)
        if mark.right is not None:
            marks[key] = mark
    return list(marks.values())


def add_marks(folder: Path, marks: Sequence[Mark]) -> None:
    """Add marks, and force them to the disk; half a line of a writer that was killed, or had no room, goes."""
    path = folder / FILE
    with locked(folder / f"{FILE}.lock"):
        whole = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
        append(path, _lines(marks), at=whole)


def replace_marks(folder: Path, source: str, marks: Sequence[Mark]) -> None:
    """Replace all marks of a source."""
    with locked(folder / f"{FILE}.lock"):
        kept = [mark for mark in read_marks(folder) if mark.source != source]
        write_whole(folder / FILE, _lines([*kept, *marks]), overwrite=True)


def calibrated(marks: Iterable[Mark], kind: Kind, weights: Mapping[Modality, float]) -> Calibrated:
    """Return the marks that fit a query: those of people where they are enough, else those of captions or a column.

    Raises:
        DataError: there are none, or too few; the message says which queries were marked.
    """
    known, key = list(marks), weights_key(weights)
    fitting = [m for m in known if m.kind == kind and m.weights == key and m.right is not None]
    if not fitting:
        others = sorted({f"{m.kind} ({m.weights})" for m in known})
        there = f", only those of {', '.join(others)}" if others else ""
        raise DataError(
            f"No answers of {kind} queries are marked{there}: mark some on the page of 'diptych serve', or "
            f"with 'diptych index --cut FILE.csv'."
        )
    sources = dict.fromkeys((PEOPLE, *sorted({m.source for m in fitting})))
    failure: DataError | None = None
    for source in sources:
        own = [m for m in fitting if m.source == source]
        queries = {q: i for i, q in enumerate(dict.fromkeys(m.query for m in own))}
        try:
            made = Marks(
                np.array([m.x for m in own]), np.array([bool(m.right) for m in own]),
                np.array([queries[m.query] for m in own], dtype=np.int64),
            )  # fmt: skip
        except DataError as error:
            failure = failure if own == [] and failure else error
            continue
        return Calibrated(made, source)
    assert failure is not None
    raise failure


def standard(
    index: Index, query: Vectors, weights: Mapping[Modality, float], scores: Sequence[float]
) -> NDArray[np.float64]:
    """Return the standard scores of answers of an index to a (D,) unit vector.

    Raises:
        DataError: the index has too few entries for anything to stand out.
    """
    modality = next(m for m in MODALITIES if weights.get(m))
    slots = len(index.vectors(modality))
    rows = index.located(modality, np.unique(np.linspace(0, slots - 1, min(slots, SAMPLE)).astype(np.int64)).tolist())
    if len(rows) < LEAST_ENTRIES:
        raise DataError(f"{index.folder} has {len(rows)} entries, and a cut needs {LEAST_ENTRIES}: index more.")
    total = np.zeros(len(rows), dtype=np.float64)
    for m in MODALITIES:
        places = rows[:, 1 + MODALITIES.index(m)]
        if weights.get(m):
            total[places >= 0] += weights[m] * (index.vectors(m)[places[places >= 0]] @ query)
    return standard_scores(np.asarray(scores, dtype=np.float64), total)


def _lines(marks: Sequence[Mark]) -> str:
    return "".join(escaped(json.dumps(asdict(mark), ensure_ascii=False)) + "\n" for mark in marks)
