"""Options that several verbs share, and what they become. Every flag is also read from DIPTYCH_<FLAG>."""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from typer.core import TyperGroup

from diptych.cli.unread import refuse_idle, typed_on
from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.tasks import runs
from diptych.tasks.runs import ENGINES, KEYS, cache_folder, device_named, make_run, precision_named
from diptych.tasks.sole_writer import sole_writer
from diptych.verbs.context import refuse_file, refuse_taken

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone, Run
    from diptych.data.keys import FileKeys
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew

FEW = 64
"""Items up to which a run does not repay timing the runtimes of an encoder (ours)."""
NO_FLAG = "DIPTYCH_DATA"
"""The folder in which data sets are looked up: the one environment name that is no flag's, so ``--data`` has none."""


def option(*names: str, help: str, **more: Any) -> Any:
    """Return an option whose environment name follows from its first long flag."""
    flag = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "DIPTYCH_" + flag.removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=None if variable == NO_FLAG else variable, show_envvar=False, **more)


_model = functools.partial(option, rich_help_panel="Model")
BACKBONE_NAMES = "lite, lite:2026-11, tiny, ViT-B-32/laion2b_s34b_b79k, hf:org/name, local:PATH ..."
BackboneName = Annotated[str, _model("--backbone", "-b", help=BACKBONE_NAMES)]
Device = Annotated[str, _model("--device", help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.")]
Precision = Annotated[
    str,
    _model(
        "--precision",
        help="Precision of the encoders: exact (fp32), fast (bf16), or int8 (extra: openvino); trainings on a GPU "
        "take fp16 too.",
    ),
]
Engine = Annotated[
    str, _model("--engine", help="Runtime on the CPU: auto (the fastest with torch's vectors), onnx, openvino, torch.")
]
Batch = Annotated[int, _model("--batch", help="Items encoded at once.", min=1)]
Workers = Annotated[int, _model("--workers", help="Threads that decode pictures.", min=1)]
Loaders = Annotated[
    int, option("--workers", help="Processes that load and augment; 0: the training process does it itself.", min=0)
]
AutoBatch = Annotated[
    int, _model("--batch", help="Items encoded at once; 0: by a short calibration on the first ones.", min=0)
]
AutoWorkers = Annotated[int, _model("--workers", help="Threads that decode pictures; 0: as many as keep up.", min=0)]
Draft = Annotated[
    bool,
    _model(
        "--draft-decode/--exact-decode",
        help="Read large JPEG photos at 1/2, 1/4 or 1/8 of their size: faster, with slightly different vectors.",
    ),
]
Cache = Annotated[Path | None, _model("--cache", help="Folder of embeddings (default: ~/.cache/diptych).")]
Verify = Annotated[bool, _model("--verify", help="Hash every file again, even if its size and date are known.")]
OnCluster = Annotated[
    str | None,
    option(
        "--cluster", help="Let workers of a Ray cluster do it: local:2, auto, or HOST:PORT.", rich_help_panel="Cluster"
    ),
]
ClusterThreads = Annotated[
    int, option("--cluster-threads", help="CPUs of each worker.", min=1, rich_help_panel="Cluster")
]
Json = Annotated[bool, option("--json", help="Print JSON, and nothing else, on stdout.")]
Verbose = Annotated[
    bool,
    _model(
        "--verbose", help="Show which runtime runs each encoder, its speed, and how close its vectors are to torch's."
    ),
]
Names = Annotated[
    str | None, option("--names", help='Class names: a file, or "cat, dog, ..." (default: folder names).')
]
Overwrite = Annotated[bool, option("--overwrite", help="Replace files of an earlier run.")]


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


def offers(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function that takes dataclasses of options: every field that is annotated as an option is a
    flag, those of ``RunOptions`` only where they are named.

    Args:
        names: fields of ``RunOptions`` that the command offers. The others keep the values of the parameter's default.
            Where ``engine`` is offered, so is ``verbose``, which says what it chose.
    """
    names = (*names, "verbose") if "engine" in names else names

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        locked: Callable[[Path | None], Path | None] = getattr(function, "locked", lambda out: out)
        flags: list[inspect.Parameter] = []
        groups: dict[str, tuple[Any, list[str]]] = {}
        wanted: list[str] = []  # parameters that take typer's context
        for p in inspect.signature(function, eval_str=True).parameters.values():
            if p.annotation is typer.Context:
                wanted.append(p.name)
                continue
            if not is_dataclass(p.annotation):
                flags.append(p.replace(kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            hints = typing.get_type_hints(p.annotation, include_extras=True)
            options_of_group: Any = (
                p.default if p.default is not p.empty else typing.cast(Callable[[], Any], p.annotation)()
            )
            shown = [
                f.name
                for f in fields(options_of_group)
                if typing.get_origin(hints[f.name]) is Annotated
                and (f.name in names or not isinstance(options_of_group, RunOptions))
            ]
            groups[p.name] = options_of_group, shown
            flags += [
                inspect.Parameter(
                    n, inspect.Parameter.KEYWORD_ONLY, default=getattr(options_of_group, n), annotation=hints[n]
                )
                for n in shown
            ]

        @functools.wraps(function)
        def command(*, context: typer.Context, **given: Any) -> None:
            for name, (options_of_group, shown) in groups.items():
                given[name] = replace(options_of_group, **{n: given.pop(n) for n in shown})
            with typed_on(context), sole_writer(locked(_written(given))):
                function(**given, **dict.fromkeys(wanted, context))

        flags.append(inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        command.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
        command.__annotations__ = {}  # the signature holds them, evaluated
        return command

    return decorate


def _written(given: Mapping[str, Any]) -> Path | None:
    """Return the output of a command."""
    every = [given, *(vars(value) for value in given.values() if is_dataclass(value))]
    out = next((options["out"] for options in every if options.get("out") is not None), None)
    return out if isinstance(out, Path) else None


class Steps(TyperGroup):
    """A verb of several commands: a first word that is none of them is answered with the line to type."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names.

        Raises:
            UsageError: it names none.
        """
        if args and args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            verb, given = f"diptych {ctx.info_name}", " ".join(args)
            from difflib import get_close_matches

            if near := get_close_matches(args[0], self.commands, n=1, cutoff=0.8):
                raise UsageError(f"{verb} has no {args[0]!r}: say '{' '.join([verb, *near, *args[1:]])}'.")
            takers = [n for n, c in self.commands.items() if any(p.param_type_name == "argument" for p in c.params)]
            if 2 * len(takers) < len(self.commands):  # the word is no data for a step that was left out
                raise UsageError(f"{verb} has no {args[0]!r}: it has {', '.join(self.commands)}.")
            lines = " or ".join(f"'{verb} {name} {given}'" for name in takers[:3])
            raise UsageError(f"{verb} takes {', '.join(self.commands)} before {args[0]!r}: say {lines}.")
        return super().resolve_command(ctx, args)
