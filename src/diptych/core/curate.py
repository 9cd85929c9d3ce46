"""Curation of a stream in two passes: one to plan, one to keep or drop each item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from diptych.core.data import Stream, Text
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

NAMED = 10
"""Number of unreadable items whose names and reasons a plan and a pass keep; all are counted."""
_ROADS = ("apply", "decide")


class Plan(ABC):
    """The result of one pass over a stream.

    Plans form a commutative monoid: parts of a stream are counted anywhere and merged in any order.
    """

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """Return the plan of both streams together.

        Raises:
            UsageError: the two have different settings.
        """

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the plan to a file, and replace an older one atomically."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return a summary of the plan in a few numbers, as plain data."""

    @property
    def unread(self) -> Sequence[tuple[str, str]]:
        """Name and reason of the first items that the curator could not judge; all are "broken" in ``report``."""
        return ()


class Clustered(Plan):
    """A plan whose items fall into clusters, which people label by a few items of each."""

    @abstractmethod
    def looks(self, count: int) -> Sequence[tuple[int, str]]:
        """Return (cluster, name of an item) of at most ``count`` items of each cluster, cluster by cluster."""


@dataclass(frozen=True)
class Verdict:
    """The decision about one item.

    Args:
        position: position of the item in its stream.
        score: the number behind the decision: a probability of keeping, or a cosine.
        reason: why the item has no score; "" where it has one.
        labels: what the curator says that the item is, such as "Microscopy"; () where it says nothing.
        texts: texts that the curator wrote for the item. The first is the text of the pair, and the others are those
            that it was made from, latest first. (): the pair has the item's own text.
    """

    position: int
    keep: bool
    score: float
    reason: str = ""
    labels: tuple[str, ...] = ()
    texts: tuple[Text, ...] = ()


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The decisions about N pairs of a stream, in columns.

    Args:
        positions: (N,) of each pair in its stream.
        keep: (N,) whether it is kept.
        scores: (N,) as ``Verdict.score``.
        reasons: number of a pair among them -> why it has no score.
        labels: as ``Verdict.labels``, of each pair; (): of none.

    Example:
        >>> some = Verdicts(np.array([7, 9]), np.array([True, False]), np.array([0.5, np.nan]), {1: "truncated"})
        >>> some.row(0)
        Verdict(position=7, keep=True, score=0.5, reason='', labels=(), texts=())
        >>> [verdict.reason for verdict in some.rows()]
        ['', 'truncated']
    """

    positions: NDArray[np.int64]
    keep: NDArray[np.bool_]
    scores: NDArray[np.float64]
    reasons: Mapping[int, str] = field(default_factory=dict)
    labels: Sequence[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.positions)

    def row(self, number: int) -> Verdict:
        """Return the decision about one pair."""
        labels = self.labels[number] if self.labels else ()
        reason = self.reasons.get(number, "")
        return Verdict(int(self.positions[number]), bool(self.keep[number]), float(self.scores[number]), reason, labels)

    def rows(self) -> Iterator[Verdict]:
        """Yield the decision about each pair."""
        columns = self.positions.tolist(), self.keep.tolist(), self.scores.tolist()
        for number, (position, keep, score) in enumerate(zip(*columns, strict=True)):
            yield Verdict(
                position, keep, score, self.reasons.get(number, ""), self.labels[number] if self.labels else ()
            )


class Curator(Method):
    """Role of ``curate``: plan over one pass, then apply the plan in a second.

    A system has either ``apply``, which is simple, or ``decide``, which decides on blocks of pairs and is fast: no
    object is made for a pair that is dropped.

    Items of its streams have a method ``text`` and perhaps an image, each decoded on demand, and perhaps ``facts``,
    plain data by column name that are written beside a kept pair. An item without a file of its own, such as a tile of
    a slide, has no ``text`` and a mapping ``cut`` of facts that say where it was cut; its picture is written beside the
    kept pair.

    Attributes:
        creates: whether it makes pairs from pictures that have no text, such as tiles of slides. Its verdicts have
            ``texts``.
    """

    verb = "curate"
    creates: ClassVar[bool] = False

    @abstractmethod
    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> Plan:
        """Read every item once, and return the plan.

        Raises:
            MissingPart: the kit lacks a part.
        """

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        """Yield a verdict for every item of the stream, in order, in bounded memory.

        A verdict depends on the plan, the seed and the item with its position alone: a stream that is cut, resumed or
        shared by machines gets the same verdicts.

        Raises:
            MissingPart: the kit lacks a part.
            UsageError: the plan is of another system, or has other settings.
        """
        for some in self.decide(kit, plan, stream, run):
            yield from some.rows()

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield the verdicts of each block of ``core.blocks.blocks(stream)``, in order; else as ``apply``."""
        raise NotImplementedError(f"{type(self).__name__} has neither apply nor decide.")

    @property
    def by_rows(self) -> bool:
        """Whether verdicts are those of ``apply``: it was written, or changed, after ``decide``."""
        order = [next(at for at, kind in enumerate(type(self).__mro__) if name in vars(kind)) for name in _ROADS]
        return order[0] < order[1]

    @abstractmethod
    def read_plan(self, path: Path) -> Plan:
        """Read what ``Plan.write`` wrote.

        Raises:
            DataError: the file is absent, damaged or no plan of this system.
        """
