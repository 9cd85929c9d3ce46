"""Files that stay mapped between searches: opening one again costs more than the search in it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 8
"""Files that stay mapped in a process."""


class Mapped(Generic[T]):
    """What was opened last, by the path of its file; for any thread.

    A file that another one replaced is opened anew: a mapped file keeps its number on the disk from being used again.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[Path, tuple[Hashable, T]] = OrderedDict()
        self._lock = threading.Lock()

    def opened(self, path: Path, part: Hashable, open_file: Callable[[], T]) -> T:
        """Return what is open, or open it.

        Args:
            path: of the file.
            part: what else decides on the result, such as the number of vectors.
            open_file: opens it.

        Raises:
            OSError: the file is missing.
        """
        path, status = path.resolve(), path.stat()
        key = (status.st_dev, status.st_ino, part)
        with self._lock:
            known = self._files.get(path)
            if known is None or known[0] != key:
                for other in [p for p in self._files if not p.exists()]:  # a removed file takes room while it is mapped
                    del self._files[other]
                known = self._files[path] = (key, open_file())
            self._files.move_to_end(path)
            while len(self._files) > MOST:
                self._files.popitem(last=False)
        return known[1]
