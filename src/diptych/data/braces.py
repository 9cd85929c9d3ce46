"""Brace ranges of names, such as "shards/{00000..00329}.tar"."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from diptych.core import UsageError

_MOST = 1_000_000
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


def expand_braces(pattern: str) -> list[str]:
    """Return the names of a pattern. {000..012} is a range, with leading zeros, and {a,b} a list.

    Raises:
        UsageError: unmatched or nested braces, or more than a million names.
    """
    pieces = _BRACES.split(pattern)  # text, inner, text, inner, ..., text
    if any("{" in text or "}" in text for text in pieces[::2]):
        raise UsageError(
            f"The braces in {pattern!r} do not match, or stand in one another: write {{00..12}} or {{a,b}}."
        )
    parts = [[text] if i % 2 == 0 else _choices(text) for i, text in enumerate(pieces)]
    if math.prod(map(len, parts)) > _MOST:
        raise UsageError(f"{pattern!r} names more than {_MOST:,} files: give a smaller range.")
    return ["".join(combination) for combination in itertools.product(*parts)]


def _choices(inner: str) -> Sequence[str]:
    match = _NUMBERS.fullmatch(inner)
    if match is None:
        return inner.split(",")
    first, last = int(match[1]), int(match[2])
    if abs(last - first) >= _MOST:
        raise UsageError(f"{{{inner}}} names more than {_MOST:,} files: give a smaller range.")
    padded = any(len(text) > 1 and text[0] == "0" for text in match.groups())
    width = max(map(len, match.groups())) if padded else 0
    step = 1 if last >= first else -1
    return [f"{n:0{width}d}" for n in range(first, last + step, step)]
