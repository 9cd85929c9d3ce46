"""Marks of answers of an index, right or wrong, and what is said of answers that were cut.

folder/marks.jsonl      a line a mark; of two for the same query and entry the later one counts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast

from diptych.core import DamagedStore
from diptych.data.files import escaped
from diptych.metrics.cut import Cut
from diptych.search_index.notes import add_note, changing, read_note, write_note
from diptych.search_index.rows import MODALITIES, Modality
from diptych.tasks.search.default_cut import OTHER_WORDS, SHIPPED

Kind = Literal["text", "image", "both"]
FILE = "marks.jsonl"
PEOPLE, CAPTIONS = "people", "captions"


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
        source: who said so: ``PEOPLE``, ``CAPTIONS``, or a column.
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
    return f"marked by {source}" if source in (PEOPLE, CAPTIONS) else f"marked by the column {source}"


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


def _lines(marks: Sequence[Mark]) -> str:
    return "".join(escaped(json.dumps(asdict(mark), ensure_ascii=False)) + "\n" for mark in marks)
