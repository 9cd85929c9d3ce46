"""Work for the workers of a cluster, in a module that they can import."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diptych.core.errors import DataError
from tests.support.colours import ColourBackbone, ColourEncoder


def write_tars(folder: Path, tars: int, items: int) -> str:
    """Write tars of small noisy pictures with a caption each; item 3 of the first tar is broken. Return their brace range."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(tars):
        with tarfile.open(folder / f"{number:03d}.tar", "w") as tar:
            for item in range(items):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(picture, "PNG")
                broken = (number, item) == (0, 3)
                for ending, data in (("png", b"broken" if broken else picture.getvalue()), ("txt", b"a cat")):
                    info = tarfile.TarInfo(f"{number:03d}{item:04d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return str(folder / f"{{000..{tars - 1:03d}}}.tar")


class MixingEncoder(ColourEncoder):
    """Adds to each vector the mean of its batch, so that a batch of other members gives other bits."""

    def encode(self, x: Any, /) -> torch.Tensor:
        rows = super().encode(x)
        return rows + 0.01 * rows.mean(dim=0)


class MixingBackbone(ColourBackbone):
    """Whose vectors betray their batch mates; with ``fatal``, the first worker to reach its second batch leaves a mark and dies.

    Args:
        fatal: file that says who died.
        driver: process that never dies.
    """

    def __init__(self, fatal: str = "", driver: int = 0) -> None:
        super().__init__()
        self._fatal, self._driver = fatal, driver

    @property
    def encoders(self) -> Mapping[str, Any]:
        kind = DyingEncoder if self._fatal and os.getpid() != self._driver else MixingEncoder
        return {"image": kind("image", 8, *((self._fatal,) if kind is DyingEncoder else ())), "text": ColourEncoder("text", None)}


class DyingEncoder(MixingEncoder):
    """Kills its process in the second batch, the first time that anyone gets there."""

    def __init__(self, modality: str, size: int | None, mark: str) -> None:
        super().__init__(modality, size)
        object.__setattr__(self, "mark", Path(mark))
        object.__setattr__(self, "batches", [0])

    def encode(self, x: Any, /) -> torch.Tensor:
        state: Any = self
        state.batches[0] += 1
        if state.batches[0] == 2 and not state.mark.exists():
            state.mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(x)


def die() -> None:
    """End the worker, each time."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(name: str) -> None:
    """Raise one of our errors."""
    raise DataError(f"{name} cannot be used: give another.")


def usage_statistics() -> str | None:
    """Return what this worker knows of Ray's usage statistics."""
    return os.environ.get("RAY_USAGE_STATS_ENABLED")
