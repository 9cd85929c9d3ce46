"""Samples of several sources as one."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

from diptych.core import Samples


@dataclass(frozen=True)
class Joined:
    """Several samples as one, in order."""

    parts: tuple[Samples[Any], ...]

    def __post_init__(self) -> None:
        ends = [0]
        for part in self.parts:
            ends.append(ends[-1] + len(part))
        object.__setattr__(self, "_ends", ends)

    def _at(self, index: int) -> tuple[Samples[Any], int]:
        ends: list[int] = self.__dict__["_ends"]
        number = bisect.bisect_right(ends, range(ends[-1])[index]) - 1
        return self.parts[number], index - ends[number]

    def __len__(self) -> int:
        return int(self.__dict__["_ends"][-1])

    def __getitem__(self, index: int, /) -> Any:
        part, position = self._at(index)
        return part[position]

    def key(self, index: int, /) -> str:
        """Return the content key of an item."""
        part, position = self._at(index)
        return part.key(position)

    def name(self, index: int, /) -> str:
        """Return the name of an item."""
        part, position = self._at(index)
        return part.name(position)
