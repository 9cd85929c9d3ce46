"""Ctrl-C while an index grows: the interruption says what is stored, and how to go on; and the folder says that it is
not whole, however the process ended.
"""

from __future__ import annotations

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
        self._note = None if database_address(out) else Path(out) / UNFINISHED  # several may write a database at a time

    def __enter__(self) -> Self:
        if self._note is not None and self._note.parent.is_dir():
            self._note.write_text(f"{self.total}\n", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            records = number_of(self.total, "record is", "records are")
            raise KeyboardInterrupt(
                f"Interrupted: {self.count:,} of {records} in {named(self.out)}; the same command goes on from there."
            ) from None
        if kind is None and self._note is not None:
            self._note.unlink(missing_ok=True)


def unfinished(location: Path | str) -> str:
    """Return a sentence that an index lacks records, since its process was stopped; "" where it is whole."""
    if database_address(location) or not (Path(location) / UNFINISHED).is_file():
        return ""
    name = named(Path(location))
    return f"{name} is not whole: indexing was interrupted, and the same 'diptych index' goes on from there."
