"""How a fitted system runs its networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diptych.core import Run


@contextmanager
def inference(run: Run) -> Iterator[None]:
    """Compute without gradients, and in the precision of the run.

    Example:
        >>> layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
        >>> with inference(Run(precision="bf16")):
        ...     y = layer(x)
        >>> y.dtype, y.requires_grad
        (torch.bfloat16, False)
    """
    kind = torch.device(run.device).type
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=run.precision == "bf16"):
        yield
