"""What ``encode_image`` and ``encode_text`` return, and their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.core import UnreadableItem, UsageError

if TYPE_CHECKING:
    from torch import Tensor

OnError: TypeAlias = Literal["raise", "skip"]
"""Where an item cannot be read: raise its error, or leave its row out."""
Output: TypeAlias = Literal["numpy", "torch"]
"""Library of the array that is returned."""


class EncodedRows(np.ndarray[Any, np.dtype[np.float32]]):
    """An (N, D) float32 array that remembers what could not be read. What is computed from it is a view without that.

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


def encoded_rows(values: NDArray[np.float32], kept: NDArray[np.int64], failed: Sequence[UnreadableItem]) -> EncodedRows:
    """Return (N, D) values with the positions of their rows, and the errors of the others."""
    rows = values.view(EncodedRows)
    rows.kept, rows.failed = kept, tuple(failed)
    return rows


def as_tensor(rows: EncodedRows, device: str) -> Tensor:
    """Return the rows as a tensor on a device, with the attributes ``kept`` and ``failed``."""
    import torch

    tensor: Any = torch.from_numpy(np.array(rows)).to(device)
    tensor.kept, tensor.failed = rows.kept, rows.failed
    result: Tensor = tensor
    return result


def check_options(batch_size: int | None, on_error: str, output: str, device: str | None) -> None:
    """Refuse values that the options do not have.

    Raises:
        UsageError: one of them.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}.")
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is 'raise' or 'skip', not {on_error!r}.")
    if output not in ("numpy", "torch"):
        raise UsageError(f"output is 'numpy' or 'torch', not {output!r}.")
    if device is not None and output != "torch":
        raise UsageError(
            f"device={device!r} is that of a tensor: add output='torch', or choose where the model runs with "
            f"diptych.load(name, device={device!r})."
        )
