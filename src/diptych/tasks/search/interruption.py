"""Ctrl-C while an index grows: the interruption says what is stored, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from diptych.core.wording import number_of
from diptych.data.files import named


class Interruptible:
    """A block that takes records into an index; it counts those that are stored.

    Args:
        out: folder of the index.
        total: how many records there are.

    Raises:
        KeyboardInterrupt: in place of one from the block, with a sentence.

    Example:
        >>> try:
        ...     with Interruptible(Path("pets"), 5000) as progress:
        ...         progress.count += 1024
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt as interruption:
        ...     print(interruption)
        Interrupted: 1,024 of 5,000 records are in pets; the same command goes on from there.
    """

    def __init__(self, out: Path, total: int) -> None:
        self.out, self.total, self.count = out, total, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            records = number_of(self.total, "record is", "records are")
            raise KeyboardInterrupt(
                f"Interrupted: {self.count:,} of {records} in {named(self.out)}; the same command goes on from there."
            ) from None
