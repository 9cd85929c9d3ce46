"""Files in a folder of photos that no reader of pictures opens: counted by kind, and reported once a folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from functools import lru_cache
from types import MappingProxyType

from diptych.core.wording import number_of, one_line

VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
"""Suffixes of video files."""
_RAW = "3fr arw cr2 cr3 crw dng erf iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"
RAW = frozenset("." + ending for ending in _RAW.split())
"""File endings of unprocessed photos of cameras."""
_WORDS = MappingProxyType(
    {"raw": ("raw photo", ""), "video": ("video", ""), "bare": ("file without a suffix", "files without a suffix")}
)
_LOG = logging.getLogger(__name__)


def kind_of(name: str) -> str:
    """Return "raw", "video", or "bare" for a name without a suffix; "" for all others, such as tables and notes.

    Example:
        >>> [kind_of(name) for name in ("IMG_1.CR2", "a.mp4", "IMG_2", "labels.csv")]
        ['raw', 'video', 'bare', '']
    """
    suffix = os.path.splitext(name)[1].lower()
    return "raw" if suffix in RAW else "video" if suffix in VIDEOS else "" if suffix else "bare"


class LeftOut:
    """Counts the files of one folder that are left out; also those in its subfolders."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a file that is no picture, by its name; hidden ones are not counted."""
        if not name.startswith((".", "__")) and (kind := kind_of(name)):
            self._counts[kind] += 1

    def __str__(self) -> str:
        """Say how many there are of each kind; "" where there is none."""
        return ", ".join(number_of(self._counts[kind], *words) for kind, words in _WORDS.items() if self._counts[kind])

    def report(self, folder: str | os.PathLike[str]) -> None:
        """Say it through the logger, which writes on stderr by default; the same sentence only once in a process."""
        if counts := str(self):
            _say(f"Left out of {one_line(os.fspath(folder))}: {counts}.")


@lru_cache(maxsize=1024)
def _say(sentence: str) -> None:
    _LOG.warning("%s", sentence)
