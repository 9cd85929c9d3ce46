"""One run: the seed, device, precision, folders and progress that everything below takes from here and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from diptych.core.backbone import Encoder


class Progress(Protocol):
    """A bar that advances; a context manager."""

    def advance(self, n: int = 1) -> None:
        """Count n more."""
        ...

    def __enter__(self) -> Progress: ...

    def __exit__(self, *exc: object) -> None: ...


class SilentProgress:
    """The bar of a library call: shows nothing."""

    def advance(self, n: int = 1) -> None:
        """Count nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


def silent(name: str, total: int | None) -> Progress:
    """Make the bar that shows nothing."""
    return SilentProgress()


class Runner(Protocol):
    """One encoder on one runtime.

    Attributes:
        name: what a user reads.
        precision: of its weights, "fp32" or "bf16".
        facts: what the embedding store must tell apart; {} where the bits are torch's own.
    """

    @property
    def name(self) -> str:
        """What a user reads."""
        ...

    @property
    def precision(self) -> str:
        """Of the weights."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What the store must tell apart."""
        ...

    @property
    def needs_torch(self) -> bool:
        """Whether it runs torch's own weights: without them, it cannot."""
        ...

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) vectors of an encoder's inputs."""
        ...


class Engine(Protocol):
    """What runs encoders in torch's stead when many items are embedded; towers and gradients stay with torch."""

    def runner(self, encoder: Encoder[Any], run: Run, /) -> Runner | None:
        """Return what runs an encoder; None: torch itself."""
        ...


@dataclass(frozen=True)
class World:
    """Place among processes.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Run:
    """Randomness, device, precision and folders of one run.

    Args:
        seed: any integer; every purpose draws its own stream from it.
        device: torch device string.
        precision: precision of towers, "fp32", "bf16" or, where an engine runs them, "int8"; closed forms choose fp32
            or fp64 themselves.
        cache: folder of the embedding store; None keeps nothing.
        out: folder for results; None writes nothing.
        batch: items a batch when encoding. Part of the batch plan, not of the cache key.
        workers: threads that decode.
        progress: makes a bar from (name, total).
        world: place among processes.
        shared_cache: folder of an embedding store that is asked before ``cache`` and never written.
        engine: what runs encoders when items are embedded; None: torch.
        decode: "exact", or "draft": large JPEG photos are decoded at a fraction of their size, see
            ``data.images.drafts``.
        tally: counts of what was done ("encoded", "decoded", "cached"); the one mutable field, for reports only.
    """

    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    cache: Path | None = None
    out: Path | None = None
    batch: int = 32
    workers: int = 2
    progress: Callable[[str, int | None], Progress] = silent
    world: World = World()
    shared_cache: Path | None = None
    engine: Engine | None = None
    decode: Literal["exact", "draft"] = "exact"
    tally: Counter[str] = field(default_factory=Counter, compare=False)

    def integer(self, purpose: str) -> int:
        """Return a 32-bit seed for NumPy or scikit-learn, fixed by (seed, purpose)."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:4], "big")

    def generator(self, purpose: str) -> torch.Generator:
        """Return a fresh CPU generator, fixed by (seed, purpose)."""
        import torch

        return torch.Generator().manual_seed(self.integer(purpose))

    def seeded(self, purpose: str) -> AbstractContextManager[None]:
        """Fork, seed and restore torch's GLOBAL generator: layer initialisation and dropout take no generator of their
        own.
        """
        return self._seeded(purpose)

    @contextlib.contextmanager
    def _seeded(self, purpose: str) -> Iterator[None]:
        import torch

        devices = list(range(torch.cuda.device_count())) if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.integer(purpose))
            yield

    def track(self, name: str, total: int | None = None) -> Progress:
        """Return a progress bar for long work: ``with run.track("encode", n) as bar: bar.advance()``."""
        return self.progress(name, total)
