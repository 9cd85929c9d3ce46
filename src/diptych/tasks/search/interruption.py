"""Ctrl-C while an index grows: the interruption says what is stored, and how to go on; and the folder says that it is
not whole, however the process ended.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Self

from diptych.core.wording import number_of
from diptych.data.files import database_address, named

UNFINISHED = "unfinished"
"""File of a folder whose index lacks records."""


class Interruptible:
    """A block that takes records into an index; it counts those that are stored.

    Args:
        out: folder of the index.
        total: how many records there are.
        tally: of the run, where it stores vectors, see ``core.run.Run``: those of records that are not yet in the
            index are not computed again.

    Raises:
        KeyboardInterrupt: in place of one from the block, with a sentence.

    Example:
        >>> try:
        ...     with Interruptible(Path("pets"), 5000) as progress:
        ...         progress.advance(1024)
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt as interruption:
        ...     print(interruption)
        Interrupted: 1,024 of 5,000 records are in pets; the same command goes on from there.
    """

    def __init__(self, out: Path, total: int, tally: Counter[str] | None = None) -> None:
        self.out, self.total, self.count = out, total, 0
        self._tally = Counter() if tally is None else tally
        self._before = self._vectors()
        self._note = None if database_address(out) else Path(out) / UNFINISHED  # several may write a database at a time

    def __enter__(self) -> Self:
        if self._note is not None and self._note.parent.is_dir():
            self._note.write_text(f"{self.total}\n", encoding="utf-8")
        return self

    def advance(self, records: int) -> None:
        """Count records that are in the index."""
        self.count, self._before = self.count + records, self._vectors()

    def _vectors(self) -> int:
        return self._tally["encoded"] + self._tally["cached"]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            records = number_of(self.total, "record is", "records are")
            more = self._vectors() - self._before
            ahead = f", and {number_of(more, 'vector')} of the next in the cache" if more else ""
            raise KeyboardInterrupt(
                f"Interrupted: {self.count:,} of {records} in {named(self.out)}{ahead}; the same command goes on from "
                f"there."
            ) from None
        if kind is None and self._note is not None:
            self._note.unlink(missing_ok=True)


def unfinished(location: Path | str) -> str:
    """Return a sentence that an index lacks records, since its process was stopped; "" where it is whole."""
    if database_address(location) or not (Path(location) / UNFINISHED).is_file():
        return ""
    name = named(Path(location))
    return f"{name} is not whole: indexing was interrupted, and the same 'diptych index' goes on from there."
