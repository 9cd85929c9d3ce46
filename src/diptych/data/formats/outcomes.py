"""Streams with unusable items, which the reader may report or raise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from diptych.core.errors import UnreadableItem

T = TypeVar("T")


def usable(
    outcomes: Generator[tuple[int, T | UnreadableItem], None, None], broken: Callable[[UnreadableItem], None] | None
) -> Iterator[tuple[int, T]]:
    """Yield (position, item) of the usable items.

    Args:
        outcomes: positions with items or errors. It is closed explicitly, since an error raised here would keep its
            file open.
        broken: function that takes the errors; None: the first is raised.

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
