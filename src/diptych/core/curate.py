"""Curation: a system that looks at a stream once to plan, and once more to keep or drop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from diptych.core.data import Stream
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run


class Pair(Protocol):
    """What a stream of pairs gives: a text, and perhaps an image, neither decoded before it is asked for."""

    def text(self) -> str:
        """Return the text."""
        ...


class Plan(ABC):
    """What one pass over a stream learnt, small: a commutative monoid, so parts are counted anywhere and merged in any
    order.
    """

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """Return the plan of both streams together.

        Raises:
            UsageError: the two were made with different settings.
        """

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the plan over an older one, in one step."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return what the plan says, in a few numbers, as plain data."""

    @property
    def unread(self) -> Sequence[tuple[str, str]]:
        """Name and reason of the first items that the curator could not judge; all are "broken" in ``report``."""
        return ()


@dataclass(frozen=True)
class Verdict:
    """What becomes of one item.

    Args:
        position: of the item in its stream.
        keep: whether it stays.
        score: what that was decided by: a probability of keeping, a cosine.
        reason: why it could not be judged; "" where it was.
    """

    position: int
    keep: bool
    score: float
    reason: str = ""


class Curator(Method):
    """Role of ``curate``: plan over one pass, then apply the plan in a second."""

    verb = "curate"

    @abstractmethod
    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> Plan:
        """Look at every item once.

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
            UsageError: the plan is another system's, or was made with other settings.
        """

    @abstractmethod
    def read_plan(self, path: Path) -> Plan:
        """Read what ``Plan.write`` wrote.

        Raises:
            DataError: the file is absent, damaged or no plan of this system.
        """
