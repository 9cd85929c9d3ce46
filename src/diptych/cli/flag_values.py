"""What the texts of flags become: numbers and words."""

from __future__ import annotations

import os
from pathlib import Path

from diptych.core import UsageError


def integers(text: str, what: str) -> tuple[int, ...]:
    """Return the whole numbers of "1,4,16".

    Raises:
        UsageError: it holds something else.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"--{what} takes whole numbers such as 1,4,16, not {text!r}.") from None


def with_flags(sentence: str) -> str:
    """Return a sentence from below the faces, whose arguments stand in braces, with flags in their place."""
    return UsageError(sentence).spelled(lambda name: f"--{name.replace('_', '-')}")


def words(text: str) -> tuple[str, ...]:
    """Return the parts of "a, b, c", trimmed."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def names_file(given: str) -> bool:
    """Return whether --names is a file: one that exists, or a word with a suffix and without commas."""
    return os.path.exists(given) or ("," not in given and bool(Path(given).suffix))
