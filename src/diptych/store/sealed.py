"""Files that are there whole or not at all: JSON that carries its own checksum, writes in one step, one lock a file,
and what damage is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD, _MIDDLE, _DIGITS = b'{"sha256":"', b'","content":', 64


class BrokenFileError(Exception):
    """A file does not hold what it says; the store turns this into a ``Damage``."""


@dataclass(frozen=True)
class Damage:
    """A file of the store that does not hold what it says.

    Args:
        path: the file.
        reason: a few words.
        keys: embeddings that were lost; 0 where that is not known.
    """

    path: Path
    reason: str
    keys: int = 0

    def __str__(self) -> str:
        lost = f"{self.keys} embeddings are" if self.keys else "its embeddings are"
        return f"{self.path}: {self.reason}; {lost} made again when they are next needed."


def seal(content: Any) -> bytes:
    """Return JSON ``{"sha256": ..., "content": ...}`` whose hash is taken over the bytes of the content."""
    text = json.dumps(content, separators=(",", ":")).encode()
    return _HEAD + hashlib.sha256(text).hexdigest().encode() + _MIDDLE + text + b"}"


def unseal(data: bytes) -> Any:
    """Return the content of sealed JSON.

    Raises:
        BrokenFileError: the bytes are not what ``seal`` wrote.
    """
    start = len(_HEAD) + _DIGITS
    text = data[start + len(_MIDDLE) : -1]
    written = data[len(_HEAD) : start]
    if data[: len(_HEAD)] != _HEAD or data[-1:] != b"}" or hashlib.sha256(text).hexdigest().encode() != written:
        raise BrokenFileError("checksum differs")
    return json.loads(text)


def write_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file so that readers see the old one or the new one, never a part.

    Args:
        path: its name.
        data: its bytes.
        sync: force it to the disk before returning; without, a power cut (not a kill) may tear it, and its checksum
            will tell.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(draft, "xb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if sync and sys.platform != "win32":  # the entry of the folder must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the only lock of a file; the system gives it back when the process dies, however it dies."""
    with open(path, "ab") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
