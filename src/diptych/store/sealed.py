"""JSON that carries its own checksum, and what damage is."""

from __future__ import annotations

import hashlib
import json
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
