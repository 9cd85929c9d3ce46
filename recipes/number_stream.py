"""The stream 0, 1, 2, ... for trainings whose rows are drawn in the workers, by their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """The stream 0, 1, 2, ...: what stands under a number is drawn in the workers."""

    position: int = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        number = self.position
        while True:
            yield number, number
            number += 1

    def seek(self, position: int) -> Numbers:
        """Return the stream that starts at ``position``."""
        return Numbers(position)
