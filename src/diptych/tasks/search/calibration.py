"""The calibration of an index that fits a query: by the marks of its answers, or measured on other sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from diptych.core import DataError
from diptych.metrics.cut import STRATA, Cut, Floats, Marks
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Modality
from diptych.tasks.search.absent import GROWN, AbsentWords, read_absent
from diptych.tasks.search.default_cut import DefaultCut, default_cut
from diptych.tasks.search.marks import CAPTIONS, PEOPLE, Kind, Mark, read_marks, weights_key


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
    """The calibration that fits a query, and who marked the answers behind it.

    Args:
        instead: what counts at levels that these marks do not reach; None: nothing does.
    """

    marks: Calibration
    source: str
    instead: Calibrated | None = None

    def at(self, level: float, *, depth: int | None = None) -> tuple[Calibrated, Cut]:
        """Return the cut of a level, and the calibration that it is of: this one, or the one that counts instead.

        Args:
            level: the wanted share of right answers.
            depth: answers of each query that are looked at; None: all that are marked.

        Raises:
            UsageError: a level outside (0, 1).
            DataError: neither reaches it; the message is about these marks.
        """
        try:
            return self, self.marks.cut(level, depth=depth)
        except DataError:
            if self.instead is not None:
                with suppress(DataError):
                    return self.instead, self.instead.marks.cut(level, depth=depth)
            raise

    def of_query(self, words: str) -> Calibrated:
        """Return the calibration of a query: a default tells kinds of words apart.

        Args:
            words: of the query; "": it has several parts, or pictures.
        """
        if isinstance(self.marks, DefaultCut):
            marks = replace(self.marks, query=words)
            return Calibrated(marks, marks.source)
        return self if self.instead is None else replace(self, instead=self.instead.of_query(words))


def calibration(index: AnyIndex, kind: Kind, weights: Mapping[Modality, float]) -> Calibrated:
    """Return the calibration of an index that fits a query: that of its marks, where they are enough, else the one that
    ships with its backbone. This one also counts at levels that marks from captions do not reach: of all pictures
    that a caption would fit its own alone is right there, so that they may say too little of words.

    Raises:
        DataError: there is none, the marks are too few, or they need to be taken again.
    """
    words = key = None
    if kind == "text" and weights_key(weights) == weights_key({"image": 1.0}):
        words, key = read_absent(index.folder), default_cut(index.facts)
    fresh = words is not None and len(index) <= GROWN * words.entries
    marks = read_marks(index.folder)
    if key is not None:
        key = replace(key, words=words.scores if words and fresh else None)
    try:
        fitted = calibrated(marks, kind, weights, words)
    except DataError as error:
        if key is None:
            raise
        key.check(len(index))
        key = replace(key, lacking=str(error).partition(":")[0] if any(m.kind == kind for m in marks) else "")
        return Calibrated(key, key.source)
    if kind == "text":
        _check(index, words)
    if fitted.source != CAPTIONS or key is None or len(index) > key.most:
        return fitted
    return replace(fitted, instead=Calibrated(key, key.source))


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
