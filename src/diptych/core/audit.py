"""Audits: what a system finds about models (Auditor), and about pairs of image and text (PairScorer)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """One number that an audit found.

    Args:
        subject: the model it is about, as the caller named it.
        measure: what was measured, an identifier such as "drop_random_groups".
        value: fraction, in [-1, 1].
        interval: (low, high), 95 %; None where there is none.
        about: part of the data that it is about, such as a class name; "" is the whole.
        details: plain data behind the number.
    """

    subject: str
    measure: str
    value: float
    interval: tuple[float, float] | None = None
    about: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the measure in words, for tables."""
        return self.measure.replace("_", " ")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "subject": self.subject,
            "measure": self.measure,
            "title": self.title,
            "about": self.about,
            "value": self.value,
            "interval": self.interval,
            "details": dict(self.details),
        }


class Auditor(Method):
    """Role of ``audit`` for models: any number of subjects, one table, findings about each."""

    verb = "audit"

    @abstractmethod
    def audit(self, subjects: Mapping[str, Kit], classes: ClassNames, table: Table[Any], run: Run) -> list[Finding]:
        """Audit the subjects on the same items.

        Args:
            subjects: name -> kit; what a kit must hold is said by the system.
            classes: K names of the table's labels.
            table: N readable items with the columns that the system needs.
            run: device, cache and seed.

        Raises:
            MissingPart: a kit lacks a part.
            UsageError: there is no subject.
            DataError: the table lacks a column or items.
        """


@dataclass(frozen=True)
class Part:
    """A stretch of a text and what it adds to the score of the pair.

    Args:
        text: as it stands there.
        start, end: its place in the text, in characters.
        weight: in the score's own unit; negative speaks against the pair.
        chosen: the system holds it for wrong.
    """

    text: str
    start: int
    end: int
    weight: float
    chosen: bool = False


@dataclass(frozen=True)
class PairScores:
    """Scores of N pairs.

    Args:
        values: (N,) float32; higher is a better pair.
        parts: N tuples of parts of the text, in its order; () where the system sees no parts.
        columns: further numbers a pair, (N,) each, such as "clipscore".
    """

    values: Tensor
    parts: tuple[tuple[Part, ...], ...] = ()
    columns: Mapping[str, Tensor] = field(default_factory=dict)


class FittedPairScorer(ABC):
    """What ``PairScorer.fit`` returns: metric, reward, filter and re-ranker alike."""

    @abstractmethod
    def score(self, pairs: Table[Any], run: Run) -> PairScores:
        """Score N images, each with the first text of its column "captions".

        Raises:
            UnreadableItem: an image cannot be read.
            DataError: there is no such column, or an empty text.
        """


class PairScorer(Method):
    """Role of a system that judges whether an image and a text belong together."""

    verb = "audit"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedPairScorer:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
