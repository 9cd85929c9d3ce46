"""Ask an index: its nearest entries to a query, and what is known of them."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, DataError, Run, UsageError
from diptych.search_index import ann, recall
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.described import Vectors
from diptych.search_index.opening import AnyIndex, index_at
from diptych.search_index.recall import Approximate
from diptych.search_index.rows import Hit, Modality
from diptych.search_index.where import Condition
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.default_cut import default_cut
from diptych.tasks.search.index import fingerprint
from diptych.tasks.search.marks import CutAnswerRow, CutAnswers
from diptych.tasks.search.present import nearest_present
from diptych.tasks.search.query import query_vector
from diptych.tasks.search.term import Term, kind_of, only_words

DOUBTFUL = 0.2
"""Share of right answers at a score, below which a first answer is called doubtful (ours)."""


class EntryRow(TypedDict):
    """An entry of an index; "right" is the probability that it is right, where the answers were cut."""

    path: str
    score: float
    caption: str
    metadata: dict[str, Any]
    right: NotRequired[float]


class QueryPartRow(TypedDict):
    """A part of a query."""

    value: str
    weight: float
    kind: Literal["image", "text"]


_Recall = TypedDict("_Recall", {"recall@10": dict[str, float] | None})


class SearchFacts(_Recall):
    """Entries, the nearest first; "missing": nearer ones, left out since their files are gone; where answers were cut,
    whether nothing in the index looks like the query.
    """

    results: list[EntryRow]
    query: list[QueryPartRow]
    weights: dict[str, float]
    where: list[str]
    index: str
    entries: int
    backbone: str
    exact: bool
    missing: list[str]
    cut: NotRequired[CutAnswerRow]
    nothing_here: NotRequired[bool]


@dataclass(frozen=True)
class Answer:
    """What was found.

    Args:
        results: best first.
        weights: what counted how much: pictures, captions.
        where: conditions, as they were given.
        entries: how many the index holds.
        index: its folder; ``backbone``: its backbone.
        recall: kind of query -> measured recall of the approximate index; None where search was exact.
        cut: how the answers were cut; None: they were not.
        likely: share of right answers that was measured at the score of the first one; None: answers were cut, or
            nothing was measured for such queries.
        missing: names of nearer entries that were left out, since their files are no longer there.
        left_out: the same in a sentence, with a remedy; also that all files are elsewhere.
    """

    results: tuple[Hit, ...]
    terms: tuple[Term, ...]
    weights: Mapping[Modality, float]
    where: tuple[str, ...]
    entries: int
    index: str
    backbone: str
    recall: Mapping[str, float] | None = None
    cut: CutAnswers | None = None
    likely: float | None = None
    missing: tuple[str, ...] = ()
    left_out: str = ""

    def as_csv(self) -> str:
        """Return one line per answer: rank, path, score, right where there is a cut, caption, and all metadata."""
        text = io.StringIO(newline="")
        names = list(dict.fromkeys(name for f in self.results for name in f.entry.facts))
        shares = [] if self.cut is None else [{"right": f"{share:.3f}"} for share in self.cut.shares]
        writer = csv.writer(text)
        writer.writerow(["rank", "path", "score", *(["right"] if shares else []), "caption", *names])
        for i, f in enumerate(self.results):
            right = shares[i].values() if shares else ()
            facts = [f.entry.facts.get(name, "") for name in names]
            writer.writerow([i + 1, f.entry.name, f"{f.score:.6f}", *right, f.entry.caption, *facts])
        return text.getvalue()

    def as_dict(self) -> SearchFacts:
        """Return plain data for JSON."""
        results = [
            EntryRow(path=f.entry.name, score=round(f.score, 6), caption=f.entry.caption, metadata=dict(f.entry.facts))
            for f in self.results
        ]
        facts: SearchFacts = {
            "results": results,
            "query": [
                QueryPartRow(value=t.value, weight=t.weight, kind="image" if t.is_picture else "text")
                for t in self.terms
            ],
            "weights": {str(modality): weight for modality, weight in self.weights.items()},
            "where": list(self.where),
            "index": self.index,
            "entries": self.entries,
            "backbone": self.backbone,
            "exact": self.recall is None,
            "recall@10": None if self.recall is None else dict(self.recall),
            "missing": list(self.missing),
        }
        if self.cut is not None:
            for row, p in zip(results, self.cut.shares, strict=True):
                row["right"] = round(p, 4)
            facts |= {"cut": self.cut.as_dict(), "nothing_here": self.cut.nothing}
        return facts

    @property
    def nothing(self) -> str:
        """Why there are no answers, in a sentence; "" where there are some."""
        if self.results:
            return ""
        if self.cut is None or not self.cut.nothing:
            return "No other entry answers." if self.missing else "Nothing meets the conditions."
        return f"Nothing here looks like that: no answer lies above the cut at {self.cut.cut.level:g}."

    @property
    def doubt(self) -> str:
        """That the first answer is rather wrong, in a sentence; "" where it is not, or nothing says so."""
        if self.likely is None or self.likely >= DOUBTFUL:
            return ""
        return (
            f"The first answer has a score of {self.results[0].score:.3f}, and of answers with such a score "
            f"{100 * self.likely:.0f} % were right on other photos: maybe nothing here shows this. {{at_least}} leaves "
            f"such answers out."
        )


def search(
    folder: Path,
    terms: Sequence[Term],
    backbone: Backbone | CachedBackbone,
    run: Run,
    *,
    k: int = 10,
    weights: Mapping[Modality, float] | None = None,
    where: Sequence[str] = (),
    exact: bool | None = None,
    at_least: float | None = None,
) -> Answer:
    """Return the k nearest entries of an index.

    Args:
        folder: the index.
        terms: the query.
        backbone: that of the index; one that is remembered, where ``query.torchless`` says so.
        run: device and cache.
        k: answers, at least 1.
        weights: what counts how much, pictures and captions; None: pictures, or captions in an index without pictures.
        where: conditions such as "year>=1990", all of which must hold.
        exact: True looks at all entries, however many; None as ``index.nearest``.
        at_least: leave out answers below the cut above which this share of them is right, and at most the rest of
            queries for absent things have any, see ``metrics.cut``; answers below the marked depth are left out too.

    Raises:
        UsageError: no such index, another backbone, a condition or query that cannot mean anything.
        UnreadableItem: a picture of the query cannot be read.
        DataError: the index is empty.
    """
    for condition in where:
        Condition.parse(condition)  # before anything is encoded
    with index_at(folder) as index:
        index.expect(fingerprint(backbone, run), backbone.spec.name)
        filled(index)
        query = query_vector(terms, backbone, run)
        return ask(
            index,
            query,
            tuple(terms),
            backbone.spec.name,
            k=k,
            weights=weights,
            where=where,
            exact=exact,
            at_least=at_least,
        )


def filled(index: AnyIndex) -> int:
    """Return the number of entries of an index.

    Raises:
        DataError: it has none.
    """
    count = len(index)
    if not count:
        raise DataError(
            f"The index {index.folder} is empty: add photos with 'diptych index PHOTOS --out "
            f"{shlex.quote(str(index.folder))}'."
        )
    return count


def ask(
    index: AnyIndex,
    query: Vectors,
    terms: tuple[Term, ...],
    backbone: str,
    *,
    k: int = 10,
    weights: Mapping[Modality, float] | None = None,
    where: Sequence[str] = (),
    exact: bool | None = None,
    at_least: float | None = None,
    cut_depth: int | None = None,
) -> Answer:
    """Return the k nearest entries of an open index to a vector.

    Args:
        index: the index.
        query: (D,) unit vector.
        terms: what it was made of, for the answer.
        backbone: name of the backbone that made it.
        k: answers, at least 1.
        weights: what counts how much, as for ``search``.
        where: conditions on metadata.
        exact: as for ``search``.
        at_least: as for ``search``.
        cut_depth: first answers of each query for which the cut is to hold; None: ``k``.

    Raises:
        UsageError: a condition or share that cannot mean anything, or captions where there are none.
        DataError: the index is empty, or its marks allow no such cut.
    """
    conditions, count = [Condition.parse(w) for w in where], filled(index)
    chosen: Mapping[Modality, float] = weights or ({"image": 1.0} if len(index.vectors("image")) else {"text": 1.0})
    if chosen.get("text") and not len(index.vectors("text")):
        raise UsageError(f"No entry of {index.folder} has a caption: leave out {{captions}}.")
    words = only_words(terms)
    fitted = cut = None
    if at_least is not None:
        fitted, cut = calibration(index, kind_of(terms), chosen).of_query(words).at(at_least, depth=cut_depth or k)
    present = nearest_present(index, query, k, chosen, where=conditions, exact=exact)
    entries = present.hits
    answers = None
    if fitted is not None and cut is not None:
        above = [f for f in entries[: cut.depth] if f.score >= cut.threshold]
        shares = fitted.marks.probabilities(np.array([f.score for f in above]))
        answers = CutAnswers(cut, fitted.source, tuple(shares.tolist()), nothing=bool(entries) and not above)
        entries = above
    known: list[Approximate] = []
    if isinstance(index, DatabaseIndex):
        known = list(index.efforts(chosen, conditions, exact).values())
    elif exact is not True and ann.installed() and index.count(conditions) > recall.EXACT:
        known = [a for m in chosen if (a := ann.about(index, m))]
    whole = len(known) == len(chosen)
    stated = {q: min(a.stated[q] for a in known) for q in known[0].stated} if whole else None
    likely = None
    if at_least is None and entries and words and dict(chosen) == {"image": 1.0}:
        shipped = default_cut(index.facts)
        likely = None if shipped is None else float(shipped.probabilities(np.array([entries[0].score]))[0])
    return Answer(
        tuple(entries), terms, chosen, tuple(where), count, str(index.folder), backbone, stated, answers, likely,
        present.missing, present.remark(str(index.folder)),
    )  # fmt: skip
