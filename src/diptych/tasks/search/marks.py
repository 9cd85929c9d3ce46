"""Marks of answers of an index, right or wrong, and the cut that they allow.

folder/marks.jsonl      a line a mark; of two for the same query and entry the later one counts
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, TypedDict, cast

import numpy as np

from diptych.core import DamagedStore, DataError
from diptych.data.files import escaped
from diptych.metrics.cut import STRATA, Cut, Floats, Marks
from diptych.search_index.notes import add_note, changing, read_note, write_note
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import MODALITIES, Modality
from diptych.tasks.search.absent import GROWN, AbsentWords, read_absent
from diptych.tasks.search.default_cut import OTHER_WORDS, SHIPPED, default_cut

Kind = Literal["text", "image", "both"]
FILE = "marks.jsonl"
PEOPLE = "people"


@dataclass(frozen=True)
class Mark:
    """What was said about one answer.

    Args:
        query: as it was asked, in words.
        kind: what the query was made of: words, pictures, or both.
        weights: what counted how much, see ``weights_key``.
        path: name of the entry.
        score: of the entry for this query; None: it was marked by a version that did not keep it.
        right: whether it is right; None takes a mark back.
        source: who said so: ``PEOPLE``, "captions", or a column.
        rank: of the entry among the answers to the query, from 1.
        stands_for: answers of the query, all at or above ``floor``, from which this one was drawn; None: its rank
            tells, see ``metrics.cut``.
        floor: score below which it tells nothing; None: there is none.
    """

    query: str
    kind: Kind
    weights: str
    path: str
    score: float | None
    right: bool | None
    source: str = PEOPLE
    rank: int = 1
    stands_for: float | None = None
    floor: float | None = None

    @classmethod
    def read(cls, line: str) -> Mark:
        """Return the mark of a line of the file.

        Raises:
            ValueError, TypeError: it is none.
        """
        facts = json.loads(line)
        if "x" in facts:  # of an earlier version: how far the score stood out, not the score
            del facts["x"]
            facts["score"] = None
        return cls(**facts)


class Calibration(Protocol):
    """What turns scores into shares of right answers."""

    @property
    def depth(self) -> int:
        """Rank down to which answers were marked."""
        ...

    def cut(self, level: float, *, depth: int | None = None) -> Cut:
        """Return the cut of a level, for the first answers of each query."""
        ...

    def probabilities(self, score: Floats) -> Floats:
        """Return (k,) probabilities that answers with these scores are right."""
        ...


@dataclass(frozen=True)
class Calibrated:
    """The calibration that fits a query, and who marked the answers behind it."""

    marks: Calibration
    source: str


class CutAnswerRow(TypedDict):
    """The cut: the wanted share of right answers, the expected one with its 95 % interval, the marks behind it, the
    depth below which nothing is stated, and the share of absent words that have an answer.
    """

    level: float
    threshold: float
    share: float
    above: int
    marks: int
    queries: int
    depth: int
    absent: float | None
    words: int
    interval: list[float]
    source: str


@dataclass(frozen=True)
class CutAnswers:
    """How answers were cut.

    Args:
        source: who marked the answers that it was fitted on.
        shares: probability that each answer above the cut is right.
        nothing: whether there were answers, and none lies above the cut.
    """

    cut: Cut
    source: str
    shares: tuple[float, ...]
    nothing: bool = False

    @property
    def basis(self) -> str:
        """The marks behind the cut, in words."""
        counts = f"{self.cut.above:,} of {self.cut.marks:,} answers to {self.cut.queries:,} queries"
        return f"{counts}, {marked_by(self.source)}"

    @property
    def absent(self) -> str:
        """How often words for absent things have an answer, in a sentence; "" where that is not known."""
        if self.cut.absent is None:
            return ""
        return f"Of {self.cut.words:,} words for absent things {100 * self.cut.absent:.0f} % have an answer."

    def as_dict(self) -> CutAnswerRow:
        """Return plain data for JSON."""
        facts = {name: value for name, value in asdict(self.cut).items() if name not in ("low", "high")}
        facts |= {"interval": [self.cut.low, self.cut.high], "source": self.source}
        return cast("CutAnswerRow", facts)


def marked_by(source: str) -> str:
    """Return who marked answers, in words.

    Example:
        >>> marked_by("people"), marked_by("label"), marked_by("default of lite")
        ('marked by people', 'marked by the column label', 'marked on other data sets')
    """
    if source.startswith(SHIPPED):
        words = ", for rare words, activities, looks and phrases" if source.endswith(OTHER_WORDS) else ""
        return f"marked on other data sets{words}"
    return f"marked by {source}" if source in (PEOPLE, "captions") else f"marked by the column {source}"


def weights_key(weights: Mapping[Modality, float]) -> str:
    """Return the weights of pictures and captions as a text, such as "image 0.7 text 0.3"."""
    total = sum(abs(w) for w in weights.values())
    return " ".join(f"{m} {weights[m] / total:.3g}" for m in MODALITIES if weights.get(m))


def read_marks(folder: Path | str) -> list[Mark]:
    """Return the marks of an index that count.

    Raises:
        DamagedStore: a line is no mark.
    """
    lines = (read_note(folder, FILE) or "").splitlines()
    marks: dict[tuple[str, str, str, str], Mark] = {}
    for number, line in enumerate(lines, 1):
        try:
            mark = Mark.read(line)
        except (ValueError, TypeError):
            if number == len(lines):
                break  # a writer was killed
            raise DamagedStore(f"{folder}/{FILE}, line {number} is not a mark: remove the line.") from None
        key = (mark.source, mark.query, mark.weights, mark.path)
        marks.pop(key, None)
        if mark.right is not None:
            marks[key] = mark
    return list(marks.values())


def add_marks(folder: Path | str, marks: Sequence[Mark]) -> None:
    """Add marks, and force them to the disk; half a line of a writer that was killed, or had no room, goes."""
    with changing(folder, FILE):
        add_note(folder, FILE, _lines(marks))


def replace_marks(folder: Path | str, source: str, marks: Sequence[Mark]) -> None:
    """Replace all marks of a source."""
    with changing(folder, FILE):
        others = [mark for mark in read_marks(folder) if mark.source != source]
        write_note(folder, FILE, _lines([*others, *marks]))


def calibration(index: AnyIndex, kind: Kind, weights: Mapping[Modality, float]) -> Calibrated:
    """Return the calibration of an index that fits a query: that of its marks, where they are enough, else the one that
    ships with its backbone.

    Raises:
        DataError: there is none, the marks are too few, or they need to be taken again.
    """
    words = key = None
    if kind == "text" and weights_key(weights) == weights_key({"image": 1.0}):
        words, key = read_absent(index.folder), default_cut(index.facts)
    marks = read_marks(index.folder)
    try:
        fitted = calibrated(marks, kind, weights, words)
    except DataError as error:
        if key is None:
            raise
        key.check(len(index))
        fresh = words is not None and len(index) <= GROWN * words.entries
        lacking = str(error).partition(":")[0] if any(m.kind == kind for m in marks) else ""
        key = replace(key, words=words.scores if words and fresh else None, lacking=lacking)
        return Calibrated(key, key.source)
    if kind == "text":
        _check(index, words)
    return fitted


def calibrated(
    marks: Iterable[Mark], kind: Kind, weights: Mapping[Modality, float], absent: AbsentWords | None = None
) -> Calibrated:
    """Return the marks that fit a query: those of people where they are enough, else those of captions or a column.

    Args:
        marks: of the index.
        kind: of the query.
        weights: what counts how much.
        absent: words for things that the index does not show; None: none were drawn.

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
    scored = [m for m in fitting if m.score is not None]
    if not scored:
        raise DataError(
            f"{len(fitting)} answers were marked by an earlier version, which did not keep their scores: take them "
            f"again with 'diptych index --cut {fitting[0].source}'."
        )
    sources = dict.fromkeys((PEOPLE, *sorted({m.source for m in scored})))
    failure: DataError | None = None
    for source in sources:
        of_source = [m for m in scored if m.source == source]
        queries = {q: i for i, q in enumerate(dict.fromkeys(m.query for m in of_source))}
        try:
            fresh = Marks(
                np.array([m.score for m in of_source], dtype=np.float64), np.array([bool(m.right) for m in of_source]),
                np.array([queries[m.query] for m in of_source], dtype=np.int64), np.array([m.rank for m in of_source]),
                absent=None if absent is None else absent.scores,
                entries=STRATA[-1] if absent is None else absent.entries,
                stands_for=np.array([np.nan if m.stands_for is None else m.stands_for for m in of_source]),
                floor=max((m.floor for m in of_source if m.floor is not None), default=-np.inf),
            )  # fmt: skip
        except DataError as error:
            failure = failure if of_source == [] and failure else error
            continue
        return Calibrated(fresh, source)
    assert failure is not None
    raise failure


def _check(index: AnyIndex, words: AbsentWords | None) -> None:
    """Raise DataError where it is not known how an index of this size answers words for absent things."""
    if words is None:
        raise DataError(
            f"How {index.folder} answers words for things that are not there is not known yet: draw some with 'diptych "
            f"index --cut people --out {index.folder}'."
        )
    entries = len(index)
    if entries > GROWN * words.entries:
        raise DataError(
            f"{index.folder} has grown from {words.entries} to {entries} entries since its answers were marked, and "
            f"the best of more answers score higher: mark again with 'diptych index --cut'."
        )


def _lines(marks: Sequence[Mark]) -> str:
    return "".join(escaped(json.dumps(asdict(mark), ensure_ascii=False)) + "\n" for mark in marks)
