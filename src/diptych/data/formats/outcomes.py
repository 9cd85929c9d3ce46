"""Streams some of whose items cannot be used: who reads them says whether those are told of, or end the pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from diptych.core.errors import UnreadableItem

T = TypeVar("T")


def usable(
    outcomes: Generator[tuple[int, T | UnreadableItem], None, None], broken: Callable[[UnreadableItem], None] | None
) -> Iterator[tuple[int, T]]:
    """Yield (position, item) of the items that can be used.

    Args:
        outcomes: positions with items, or with why they cannot be used. Closed in the end, not when the garbage is
            collected: an error that is raised here would keep the file open.
        broken: takes the errors; None: the first is raised.

    Raises:
        UnreadableItem: the first error, where ``broken`` is None.
    """
    with contextlib.closing(outcomes):
        for position, item in outcomes:
            if not isinstance(item, UnreadableItem):
                yield position, item
            elif broken is None:
                raise item
            else:
                broken(item)
