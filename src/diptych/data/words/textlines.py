"""Texts, one per line, as a stream whose positions are byte offsets, so that a seek is one jump."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from diptych.core import DataError, UsageError
from diptych.data.format import Format

MAX_LINE = 1 << 20
"""Longest line, in bytes; a longer one means that the file is damaged."""


@dataclass(frozen=True)
class TextLines:
    """Lines of a UTF-8 file, as a Stream of core.data with one line in memory. Empty lines are items too.

    Args:
        start: byte offset of the start of the first line.
        stop: byte offset of the end; lines that begin there or later are not read. None: the end of the file.
    """

    path: str
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[int, str]]:
        with open(self.path, "rb") as file:
            file.seek(self.start)
            position = self.start
            while self.stop is None or position < self.stop:
                line = file.readline(MAX_LINE + 1)
                if not line:
                    return
                if len(line) > MAX_LINE:
                    raise DataError(
                        f"{self.path} has a line of more than {MAX_LINE:,} bytes at byte {position}: is it a text file?"
                    )
                try:
                    text = line.decode("utf-8-sig" if position == 0 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    raise DataError(f"{self.path} is not UTF-8 at byte {position}: save it again as UTF-8.") from None
                yield position, text
                position += len(line)

    def seek(self, position: int) -> TextLines:
        """Return the stream that starts at byte ``position``."""
        return replace(self, start=position)

    def shards(self, count: int) -> list[TextLines]:
        """Return at most ``count`` streams of about equal size; each line is in one of them, at the same position."""
        size = os.path.getsize(self.path) if self.stop is None else self.stop
        cuts = [self.start]
        with open(self.path, "rb") as file:
            for k in range(1, count):
                file.seek(max(self.start, self.start + (size - self.start) * k // count - 1))
                file.readline()  # to the start of a line
                cuts.append(min(size, file.tell()))
        cuts = sorted({*cuts, size}) if size > self.start else [self.start, size]
        return [replace(self, start=a, stop=b) for a, b in pairwise(cuts)]


def open_lines(path: str | os.PathLike[str]) -> TextLines:
    """Open a text file as a stream; raises UsageError where there is none."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file {file}: check the spelling.")
    return TextLines(os.path.abspath(file))


LINES = Format(
    "a .txt with one text per line",
    lambda path, request: path.suffix.lower() == ".txt",
    lambda path, request: open_lines(path),
    frozenset(("photos", "texts")),
)
