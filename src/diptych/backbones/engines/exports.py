"""What the folder of engines holds: size and last use of each graph and measurement, and deleting them; a later run
makes them again.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diptych.backbones.engines.runtimes.made import FACTS, FILES

_NAME = re.compile(r"(?P<encoder>[0-9a-f]{16})-(?P<what>(graph-torch|onnxruntime|openvino|torch)-[^/]+)")


@dataclass(frozen=True)
class Export:
    """One folder of the engines.

    Args:
        name: of the folder.
        encoder: fingerprint.
        what: "graph-torch-VERSION", or runtime, version, precision and processor; "(unfinished)" of a draft.
        bytes: size of its files.
        used: time of last use, seconds since 1970.
    """

    name: str
    encoder: str
    what: str
    bytes: int
    used: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        used = datetime.fromtimestamp(self.used, UTC).isoformat(timespec="seconds")
        return {"export": self.name, "encoder": self.encoder, "what": self.what, "bytes": self.bytes, "used": used}


def list_exports(folder: Path) -> list[Export]:
    """Return the exports in a folder, the one that was used longest ago first; drafts of killed processes are exports
    too.
    """
    found = []
    for place in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(place.name.removeprefix("."))
        if match is None or place.is_symlink() or not place.is_dir():
            continue
        states = [file.stat() for name in FILES if (file := place / name).is_file()]
        used = max([place.stat().st_mtime, *(s.st_mtime for s in states)])
        what = f"{match['what'].rsplit('.', 2)[0]} (unfinished)" if place.name.startswith(".") else match["what"]
        found.append(Export(place.name, match["encoder"], what, sum(s.st_size for s in states), used))
    return sorted(found, key=lambda e: (e.used, e.name))


def remove_exports(folder: Path, exports: Collection[Export], *, idle: float = 600.0) -> list[Export]:
    """Delete exports, what they say of themselves first, so that a half-deleted one is made anew; files of others stay.

    Args:
        folder: of the engines.
        exports: as ``list_exports`` gave them.
        idle: one that was used within so many seconds is probably in use and stays.

    Returns:
        Those that stayed.
    """
    kept = [e for e in exports if time.time() - e.used < idle]
    for export in exports:
        if export in kept:
            continue
        place = folder / export.name
        for name in (FACTS, *FILES):
            (place / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another's file lies there
            place.rmdir()
    return kept
