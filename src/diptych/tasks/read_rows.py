"""Arrays with a row for each item that could be read, which remember the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych.core import UnreadableItem, UsageError

OnError: TypeAlias = Literal["raise", "skip"]
"""Where an item cannot be read: raise its error, or leave its row out."""
R = TypeVar("R", bound="ReadRows")


class ReadRows(np.ndarray[Any, np.dtype[Any]]):
    """An array with a row for each item that could be read. What is computed from it is a view without the attributes.

    Attributes:
        kept: (N,) int64 positions of the rows among the items that were given.
        failed: one error for each item that could not be read.
    """

    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]

    def __array_finalize__(self, base: Any) -> None:
        self.kept, self.failed = np.empty(0, np.int64), ()

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)


def read_rows(values: NDArray[Any], kept: NDArray[np.int64], failed: Sequence[UnreadableItem], kind: type[R]) -> R:
    """Return (N, ...) values as an array of this class, with the positions of its rows and the errors of the others."""
    rows = values.view(kind)
    rows.kept, rows.failed = kept, tuple(failed)
    return rows


def check_on_error(on_error: str) -> None:
    """Refuse a value that the option does not have.

    Raises:
        UsageError: it is neither "raise" nor "skip".
    """
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is 'raise' or 'skip', not {on_error!r}.")
