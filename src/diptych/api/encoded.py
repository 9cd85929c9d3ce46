"""What ``encode_image`` and ``encode_text`` return, and their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.core import UnreadableItem, UsageError
from diptych.core.guesses import guesses
from diptych.core.wording import lacks
from diptych.tasks.read_rows import OnError as OnError
from diptych.tasks.read_rows import ReadRows, check_on_error, read_rows

if TYPE_CHECKING:
    from torch import Tensor

Output: TypeAlias = Literal["numpy", "torch"]
"""Library of the array that is returned."""


class EncodedRows(ReadRows, np.ndarray[Any, np.dtype[np.float32]]):
    """An (N, D) float32 array that remembers what could not be read. What is computed from it is a view without that.

    Attributes:
        kept: (N,) int64 positions of the rows among the items that were given.
        failed: one error for each item that could not be read.
    """

    if not TYPE_CHECKING:  # names stay checked

        def __getattr__(self, name: str) -> Any:
            if name in guesses("EncodedRows"):
                raise lacks(self, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)


def encoded_rows(
    values: NDArray[np.float32], positions: NDArray[np.int64], failed: Sequence[UnreadableItem]
) -> EncodedRows:
    """Return (N, D) values with the positions of their rows, and the errors of the others."""
    return read_rows(values, positions, failed, EncodedRows)


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
    size: object = batch_size
    if size is not None and (not isinstance(size, (int, np.integer)) or size < 1):
        raise UsageError(f"batch_size must be a whole number of at least 1, got {size!r}.")
    check_on_error(on_error)
    if output not in ("numpy", "torch"):
        raise UsageError(f"output is 'numpy' or 'torch', not {output!r}.")
    if device is not None and output != "torch":
        raise UsageError(
            f"device={device!r} is that of a tensor: add output='torch', or choose where the model runs with "
            f"diptych.load(name, device={device!r})."
        )
