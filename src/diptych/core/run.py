"""Settings of one run: seed, device, precision, folders and progress."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from diptych.core.backbone import Encoder
    from diptych.core.data import Samples

S = TypeVar("S")
R = TypeVar("R")
Job: TypeAlias = "Callable[[Samples[S], Run], Iterable[R]]"
"""Yields one result for each item."""


class Progress(Protocol):
    """A progress bar, as a context manager."""

    def advance(self, n: int = 1) -> None:
        """Count n more."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *exc: object) -> None: ...


class SilentProgress:
    """A progress bar that shows nothing, the default of library calls."""

    def advance(self, n: int = 1) -> None:
        """Count nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


def silent(name: str, total: int | None) -> Progress:
    """Return a progress bar that shows nothing."""
    return SilentProgress()


class Runner(Protocol):
    """One encoder on one runtime.

    Attributes:
        name: name for users.
        precision: precision of its weights, "fp32" or "bf16".
        facts: what the embedding store must distinguish; {} where the bits equal torch's.
    """

    @property
    def name(self) -> str:
        """Name for users."""

    @property
    def precision(self) -> str:
        """Precision of the weights."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What the embedding store must distinguish."""

    @property
    def needs_torch(self) -> bool:
        """Whether it needs the weights in torch."""

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) vectors of an encoder's inputs."""


class Engine(Protocol):
    """Runs encoders instead of torch when many items are embedded. Towers and gradients use torch."""

    def runner(self, encoder: Encoder[Any], run: Run, /) -> Runner | None:
        """Return the runner of an encoder; None: torch."""


class Workers(Protocol):
    """Processes of a cluster that share the work of a run."""

    def spread(self, job: Job[S, R], items: Samples[S], run: Run, /) -> Iterator[R]:
        """Yield the results of a job in the order of the items, pieces of which the workers do; see ``Run.spread``."""


@dataclass(frozen=True)
class World:
    """Position among the processes of a distributed run.

    Args:
        rank: number of this process, from 0.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Run:
    """Randomness, device, precision and folders of one run.

    Args:
        seed: any integer; every purpose has its own random stream from it.
        device: torch device string.
        precision: precision of towers, "fp32", "bf16" or, where an engine runs them, "int8"; "fp16" is of trainings on
            a GPU. Closed forms use fp32 or fp64 in any case.
        cache: folder of the embedding store; None stores nothing.
        out: folder for results; None writes nothing.
        batch: items per batch when encoding; part of the batch plan, not of the cache key.
        workers: number of threads that decode.
        progress: returns a progress bar for (name, total).
        world: position among processes.
        shared_cache: folder of an embedding store that is read before ``cache`` and never written.
        engine: runs encoders when items are embedded; None: torch.
        decode: "exact", or "draft", which decodes large JPEG photos at a fraction of their size; see
            ``data.images.drafts``.
        cluster: workers that share what is done item by item; None: this process does it.
        learnt: what ``once`` keeps; None: nothing. Like the tally it is changed in place.
        tally: counts of items "encoded", "decoded" and "cached", for reports only.
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
    cluster: Workers | None = None
    learnt: dict[str, tuple[Any, float]] | None = field(default=None, compare=False)
    tally: Counter[str] = field(default_factory=Counter, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process has: it shows no progress, has no engine and no workers, and counts and
        learns for itself.
        """
        fresh: dict[str, Any] = {
            "progress": silent,
            "engine": None,
            "cluster": None,
            "learnt": None,
            "tally": Counter(),
        }
        return {**self.__dict__, **fresh}

    def integer(self, purpose: str) -> int:
        """Return a 32-bit seed for NumPy or scikit-learn, fixed by (seed, purpose)."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:4], "big")

    def generator(self, purpose: str) -> torch.Generator:
        """Return a fresh CPU generator, fixed by (seed, purpose)."""
        import torch

        return torch.Generator().manual_seed(self.integer(purpose))

    def seeded(self, purpose: str) -> AbstractContextManager[None]:
        """Seed torch's global generator within a block, and restore it afterwards.

        Layer initialisation and dropout take no generator as an argument.
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

    def once(self, purpose: str, make: Callable[[], R]) -> R:
        """Return what ``make`` returns; where ``learnt`` is a dictionary, of the first call for this purpose.

        A board fits a system that chooses on val twice: on all of val, and without the items on which rows are
        compared. It gives both fits, and those of the system's other rows, one dictionary. Each later call adds the
        microseconds of the first to the tally's "saved_us".

        Args:
            purpose: the system, what is made, and all settings that it depends on.
            make: must not read val. Nobody may change what it returns.

        Example:
            >>> run = Run(learnt={})
            >>> run.once("a system, 3 steps", lambda: 1), run.once("a system, 3 steps", lambda: 2)
            (1, 1)
        """
        if self.learnt is None:
            return make()
        if purpose in self.learnt:
            result, seconds = self.learnt[purpose]
            self.tally["saved_us"] += round(seconds * 1e6)
        else:
            start = time.perf_counter()
            result = make()
            self.learnt[purpose] = result, time.perf_counter() - start
        return result  # type: ignore[no-any-return]

    def spread(self, job: Job[S, R], items: Samples[S]) -> Iterator[R]:
        """Yield the results of a job in the order of the items, by the workers of a cluster where there are some.

        Args:
            job: yields one result for each item, whatever the other items are; picklable where there are workers.
            items: N samples. A worker is given ``batch`` of them at a time.
        """
        return iter(job(items, self)) if self.cluster is None else self.cluster.spread(job, items, self)
