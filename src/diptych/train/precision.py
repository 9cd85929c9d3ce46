"""Mixed precision: autocast of the forward pass, and the scaler of fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from diptych.core import Run, UsageError


def of_encoders(run: Run) -> Run:
    """Return the run of what a training embeds with frozen encoders: fp32 where the training itself is in fp16."""
    return replace(run, precision="fp32") if run.precision == "fp16" else run


class Precision:
    """What a training does for the precision of its run; weights and optimiser states are float32 in any case.

    Args:
        run: its device, and "fp32", "bf16" or "fp16". A run in "int8" trains in fp32, since int8 encoders run in an
            engine and are not trained.

    Raises:
        UsageError: fp16 without a GPU, where it would be slower and no smaller.
    """

    def __init__(self, run: Run) -> None:
        if run.precision == "fp16" and not run.device.startswith("cuda"):
            raise UsageError(f"Training in fp16 needs a GPU, and this run is on {run.device}: use bf16 or fp32.")
        self._device = torch.device(run.device).type
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(run.precision)
        self.scaler = torch.amp.GradScaler(self._device, enabled=self._dtype is torch.float16)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        return torch.autocast(self._device, self._dtype or torch.bfloat16, enabled=self._dtype is not None)
