"""Options of a run, and the open run that they describe."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from diptych.cli.flags import (
    AutoBatch,
    AutoWorkers,
    BackboneName,
    Batch,
    Cache,
    ClusterThreads,
    Device,
    Draft,
    Engine,
    Json,
    Loaders,
    OnCluster,
    Overwrite,
    Precision,
    Verbose,
    Verify,
    Workers,
)
from diptych.cli.unread import refuse_idle
from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.tasks import runs
from diptych.tasks.runs import ENGINES, KEYS, cache_folder, device_named, make_run, precision_named
from diptych.verbs.context import refuse_file, refuse_taken

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone, Run
    from diptych.data.keys import FileKeys
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew


FEW = 64
"""Items up to which a run does not repay timing the runtimes of an encoder (ours)."""
MODEL = ("json", "backbone", "device", "precision", "engine", "batch", "workers", "cache", "verify")
"""The options that most verbs offer."""


@dataclass(frozen=True)
class RunOptions:
    """What the verbs share. A verb offers some of it as flags, see ``offers``; the rest keeps the default."""

    overwrite: Overwrite = False
    json: Json = False
    backbone: BackboneName = "lite"
    device: Device = "auto"
    precision: Precision = "fp32"
    engine: Engine = "auto"
    verbose: Verbose = False
    draft: Draft = False
    batch: Batch = 32
    workers: Workers = 2
    cache: Cache = None
    verify: Verify = False
    cluster: OnCluster = None
    cluster_threads: ClusterThreads = 1

    def open(self, *, seed: int = 0, out: Path | None = None) -> Opened:
        """Return what these options describe, to be used as a context.

        Raises:
            MissingExtra: an engine or a cluster is requested, and is not installed.
        """
        if self.engine == "openvino" or self.precision == "int8":
            need_extra("openvino", "int8" if self.precision == "int8" else "--engine openvino")
        if self.cluster is None:
            refuse_idle("No --cluster is given", "cluster_threads")
        else:
            need_extra("scale", "Work on a cluster")
        return Opened(self, seed, out)

    def free(self, *paths: Path | None, flag: str = "--out") -> None:
        """Refuse files of an earlier run, unless they may be replaced.

        Raises:
            UsageError: one is there, or a file stands where a folder of theirs would be.
        """
        for path in paths:
            if path is not None and not self.overwrite:
                refuse_taken(path, flag, "--overwrite")
            elif path is not None:
                refuse_file(path.parents, flag)

    def writable(self, folder: Path | None, flag: str = "--out") -> None:
        """Refuse a folder in which nothing can be written, before any work; nothing stays behind.

        Raises:
            UsageError: the system refuses.
        """
        from diptych.data.files import try_to_write

        if folder is None:
            return
        refuse_file((folder, *folder.parents), flag)
        if reason := try_to_write(folder):
            raise UsageError(f"{folder} cannot be written ({reason}): give another {flag}.")


@dataclass(frozen=True)
class LoaderOptions(RunOptions):
    """The same for trainings, which have processes that load, as few as none."""

    workers: Loaders = 2


@dataclass(frozen=True)
class AutoOptions(RunOptions):
    """The same, with a batch and threads that a short calibration finds where none are given."""

    batch: AutoBatch = 0
    workers: AutoWorkers = 0


class Opened:
    """An open run. Each part is made on first use: content keys load no torch, the run does.

    Attributes:
        items: number of items that are encoded at most, where a verb says so before the run is made.
        tally: of all runs that are opened, see ``core.run.Run``.
    """

    def __init__(self, options: RunOptions, seed: int = 0, out: Path | None = None) -> None:
        self.options, self.seed, self.out = options, seed, out
        self.items: float = math.inf
        self.tally: Counter[str] = Counter()
        self._stack = ExitStack()
        self._workers: Cluster | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def also(self, options: RunOptions) -> Opened:
        """Open a run of other options, which is closed with this one."""
        opened = self._stack.enter_context(options.open(seed=self.seed, out=self.out))
        opened.tally = self.tally
        return opened

    @cached_property
    def folder(self) -> Path:
        """The cache folder."""
        return cache_folder(self.options.cache)

    @cached_property
    def keys(self) -> FileKeys:
        """Remembered content keys of files; closed with the run."""
        from diptych.data.keys import FileKeys

        return self._stack.enter_context(FileKeys(self.folder / KEYS, verify=self.options.verify))

    @cached_property
    def run(self) -> Run:
        """The run; "auto" takes a GPU if there is one.

        Raises:
            UsageError: an unknown precision or engine, int8 without an engine, or a device that is not there.
        """
        return self._run(device_named(self.options.device))

    @cached_property
    def light(self) -> Run:
        """A run for what needs no encoder; loads no torch."""
        from diptych.cli.console import Display
        from diptych.core import Run

        return Run(seed=self.seed, workers=self.options.workers, progress=Display().bar)

    @cached_property
    def recalled(self) -> tuple[CachedBackbone, Run] | None:
        """The backbone as it is remembered and the run; None where only torch can answer. Loads no torch."""
        from diptych.backbones.engines.cached_backbone import recall

        options = self.options
        precision_named(options.precision)
        if options.engine not in ("auto", "onnx", "openvino"):
            return None
        known = recall(options.backbone, self.folder / ENGINES)
        if known is None or "cpu" not in (options.device, known.device if options.device == "auto" else ""):
            return None
        return known, self._run("cpu")

    @cached_property
    def _once(self) -> Callable[[str], None]:
        """Says a line once: both the remembered and the loaded backbone have an engine that reports."""
        from diptych.cli.console import say

        return functools.cache(say)

    def _run(self, device: str) -> Run:
        from diptych.cli.console import Display

        options = self.options
        run = make_run(
            device=device, precision=options.precision, engine=options.engine, cache=self.folder,
            seed=self.seed, out=self.out,
            draft=options.draft, batch=options.batch, workers=options.workers, progress=Display().bar,
            report=self._once if options.verbose else lambda line: None, remark=self._once, few=self.items <= FEW,
        )  # fmt: skip
        return replace(run, tally=self.tally)

    def backbone(self, name: str = "", *, spaces: bool = False) -> Backbone:
        """Load a backbone on the run's device, and say what its answers cannot be trusted for; see ``runs``.

        Args:
            name: of the backbone; "": that of the options.
            spaces: whether a fitted space is taken in its place.
        """
        from diptych.backbones.names import activation_remark
        from diptych.backbones.sources.load_options import split_name
        from diptych.cli.console import say

        name = name or self.options.backbone
        if remark := activation_remark(split_name(name)[0]):
            say(remark)
        backbone = runs.open_backbone(name, self.run, spaces=spaces)
        if remark := runs.random_remark(backbone):
            say(remark)
        return backbone

    def remember(self, backbone: Backbone) -> None:
        """Remember the backbone for the next process, where "auto" means the CPU."""
        from diptych.backbones.engines.cached_backbone import remember

        if self.options.device == "auto" and self.run.device == "cpu" and self.run.engine is not None:
            remember(self.options.backbone, backbone, self.folder / ENGINES, "cpu")

    def encoders(self, *modalities: str) -> tuple[Backbone | CachedBackbone, Run]:
        """Return the remembered backbone and its run where these modalities are encoded without torch and in this
        process; else load the backbone and remember it for the next process.
        """
        known = self.recalled if self.options.cluster is None else None
        if known is not None and known[0].torchless(known[1], modalities):
            return known
        loaded = self.backbone()
        self.remember(loaded)
        return loaded, self.run

    def pool(self, device: str = "cpu") -> Cluster | None:
        """Hold the workers of a cluster until the run is closed, one a GPU if the device is one; else None."""
        options = self.options
        if options.cluster is not None and self._workers is None:
            from diptych.tasks.cluster import Cluster

            gpus = int(device.startswith("cuda"))
            self._workers = self._stack.enter_context(Cluster(options.cluster, options.cluster_threads, gpus=gpus))
        return self._workers

    def crew(self, name: str = "") -> Crew | None:
        """Return workers of a cluster that load a backbone, "" that of the options; None where none is asked for."""
        pool = None if self.options.cluster is None else self.pool(self.run.device)
        if pool is None:
            return None
        from diptych.backbones.sources.load import load
        from diptych.tasks.encode.cluster import Crew

        return Crew(
            pool, partial(load, name or self.options.backbone, device=self.run.device), self.options.cluster_threads
        )
