"""Work for the workers of a cluster, in a module that they can import."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import DataError, Kit, Plan, Run, Stream, Verdict
from diptych.features.entry_counts import EntryCounts
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.cluster import Cluster
from tests.support.colours import ColourBackbone, ColourEncoder


@contextlib.contextmanager
def two_workers() -> Iterator[Cluster]:
    """A local Ray of two workers no nicer than the tests: with Ray's own niceness of 15 they starve beside a second
    test process.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        with Cluster("local:2") as pool:
            yield pool


def write_tars(folder: Path, tars: int, items: int) -> str:
    """Write tars of small noisy pictures with a caption each; item 3 of the first tar is broken. Return their brace
    range.
    """
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
    """Whose vectors betray their batch mates; with ``fatal``, the first worker to reach its second batch leaves a mark
    and dies.

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
        return {
            "image": kind("image", 8, *((self._fatal,) if kind is DyingEncoder else ())),
            "text": ColourEncoder("text", None),
        }


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


@dataclass(frozen=True)
class DyingCurator(MetaCLIP):
    """MetaCLIP that kills its process in the middle of a shard, once for each mark, and lists where passes over that
    shard begin.

    Args:
        marks: folder of "plan" and "apply", which say who died where, and of "begun".
        at: position at which it dies.
    """

    marks: str = ""
    at: int = 0

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> EntryCounts:
        """Die in the shard that holds ``at``, the first time."""
        if any(position == self.at for position, _ in stream):
            self._die("plan")
        return super().plan(kit, stream, run)

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        """Die at the verdict on ``at``, the first time."""
        first = None
        for verdict in super().apply(kit, plan, stream, run):
            first = verdict.position if first is None else first
            if verdict.position == self.at:
                with (Path(self.marks) / "begun").open("a", encoding="utf-8") as file:
                    file.write(f"{first}\n")
                self._die("apply")
            yield verdict

    def _die(self, what: str) -> None:
        mark = Path(self.marks) / what
        if not mark.exists():
            mark.write_text(str(os.getpid()), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    """End the worker, each time."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(name: str) -> None:
    """Raise one of our errors."""
    raise DataError(f"{name} cannot be used: give another.")


def usage_statistics() -> str | None:
    """Return what this worker knows of Ray's usage statistics."""
    return os.environ.get("RAY_USAGE_STATS_ENABLED")
