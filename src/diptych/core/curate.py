"""Curation of a stream in two passes: one to plan, one to keep or drop each item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from diptych.core.data import Stream, Text
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

NAMED = 10
"""Number of unreadable items whose names and reasons a plan and a pass keep; all are counted."""


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


class Curator(Method):
    """Role of ``curate``: plan over one pass, then apply the plan in a second.

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

    @abstractmethod
    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        """Yield a verdict for every item of the stream, in order, in bounded memory.

        A verdict depends on the plan, the seed and the item with its position alone: a stream that is cut, resumed or
        shared by machines gets the same verdicts.

        Raises:
            MissingPart: the kit lacks a part.
            UsageError: the plan is of another system, or has other settings.
        """

    @abstractmethod
    def read_plan(self, path: Path) -> Plan:
        """Read what ``Plan.write`` wrote.

        Raises:
            DataError: the file is absent, damaged or no plan of this system.
        """
