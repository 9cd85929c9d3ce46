"""Options that several verbs share, and what they become. Every flag is also read from DIPTYCH_<FLAG>."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.core.errors import UsageError

if TYPE_CHECKING:
    from diptych.backbones.engines.remembered import Remembered
    from diptych.core.backbone import Backbone
    from diptych.core.run import Run
    from diptych.data.keys import FileKeys
    from diptych.data.pools import Pool
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode_cluster import Crew

EMBEDDINGS, KEYS, ENGINES = "embeddings", "keys.sqlite", "engines"
"""What a cache folder holds: the embedding store, the content keys of files, and encoders prepared for this machine."""
PRECISIONS = {"fp32": "fp32", "exact": "fp32", "bf16": "bf16", "fast": "bf16", "int8": "int8"}


NO_FLAG = "DIPTYCH_DATA"
"""The folder in which data sets are looked up: the one environment name that is no flag's, so ``--data`` has none."""


def option(*names: str, help: str, **more: Any) -> Any:
    """Return an option whose environment name follows from its first long flag."""
    flag = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "DIPTYCH_" + flag.removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=None if variable == NO_FLAG else variable, show_envvar=False, **more)


BackboneName = Annotated[
    str,
    option(
        "--backbone",
        "-b",
        help="lite, tiny, ViT-B-32/laion2b_s34b_b79k, hf:org/name, local:PATH ...",
        rich_help_panel="Model",
    ),
]
Device = Annotated[
    str, option("--device", help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.", rich_help_panel="Model")
]
Precision = Annotated[
    str,
    option(
        "--precision", help="exact (fp32), fast (bf16) or, with --engine, int8, of the towers.", rich_help_panel="Model"
    ),
]
Engine = Annotated[
    str,
    option(
        "--engine",
        help="On the CPU: auto (the fastest that gives torch's vectors), onnx, openvino, torch.",
        rich_help_panel="Model",
    ),
]
Batch = Annotated[int, option("--batch", help="Items encoded at once.", min=1, rich_help_panel="Model")]
Workers = Annotated[int, option("--workers", help="Threads that decode pictures.", min=1, rich_help_panel="Model")]
AutoBatch = Annotated[
    int,
    option(
        "--batch",
        help="Items encoded at once; 0: by a short calibration on the first ones.",
        min=0,
        rich_help_panel="Model",
    ),
]
AutoWorkers = Annotated[
    int,
    option("--workers", help="Threads that decode pictures; 0: as many as keep up.", min=0, rich_help_panel="Model"),
]
Draft = Annotated[
    bool,
    option(
        "--draft-decode/--exact-decode",
        help="Read large JPEG photos at 1/2, 1/4 or 1/8 of their size: faster, and the vectors are a little different.",
        rich_help_panel="Model",
    ),
]
Cache = Annotated[
    Path | None,
    option(
        "--cache",
        help="Folder of embeddings (default: XDG_CACHE_HOME/diptych).",
        show_default=False,
        rich_help_panel="Model",
    ),
]
Verify = Annotated[
    bool,
    option("--verify", help="Hash every file again, even if its size and date are known.", rich_help_panel="Model"),
]
OnCluster = Annotated[
    str | None,
    option(
        "--cluster",
        help="Let workers of a Ray cluster do it: local:2, auto, or HOST:PORT.",
        show_default=False,
        rich_help_panel="Cluster",
    ),
]
ClusterThreads = Annotated[
    int, option("--cluster-threads", help="CPUs of each worker.", min=1, rich_help_panel="Cluster")
]
Json = Annotated[bool, option("--json", help="Print JSON, and nothing else, on stdout.")]
Templates = Annotated[
    list[str] | None,
    option(
        "--templates",
        help="A file of prompts, or one prompt with {}; repeat for several (default: seven prompts).",
        show_default=False,
    ),
]
Names = Annotated[
    str | None,
    option("--names", help='Class names: a file, or "cat, dog, ..." (default: folder names).', show_default=False),
]
TextPool = Annotated[
    str | None,
    option(
        "--texts",
        help="Descriptions of the classes: a JSON pool, or one that ships (default: the data set's).",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, option("--overwrite", help="Replace files of an earlier run.")]


def cache_folder(given: Path | None) -> Path:
    """Return the cache folder: the given one, else XDG_CACHE_HOME/diptych, else ~/.cache/diptych."""
    if given is not None:
        return given.expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "diptych"


def shared_store() -> Path | None:
    """Return the embeddings of the cache folder that DIPTYCH_SHARED_CACHE names: read first, never written."""
    shared = os.environ.get("DIPTYCH_SHARED_CACHE", "")
    return Path(shared).expanduser() / EMBEDDINGS if shared else None


def file_keys(cache: Path | None, verify: bool) -> FileKeys:
    """Open the remembered content keys of the cache folder."""
    from diptych.data.keys import FileKeys

    return FileKeys(cache_folder(cache) / KEYS, verify=verify)


def open_run(
    device: str,
    precision: str,
    batch: int,
    workers: int,
    cache: Path | None,
    out: Path | None = None,
    seed: int = 0,
    engine: str = "torch",
    draft: bool = False,
) -> Run:
    """Return the run that these options describe; "auto" takes a GPU if there is one.

    Raises:
        UsageError: an unknown precision or engine, int8 without an engine, or a device that is not there.
    """
    import torch

    if precision not in PRECISIONS:
        raise UsageError(f"Precision {precision!r} is unknown: use exact (fp32), fast (bf16) or int8.")
    chosen = device
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise UsageError(f"There is no device {chosen!r} here: use cpu or auto.") from error
    if precision == "int8" and (chosen != "cpu" or engine not in ("auto", "openvino")):
        raise UsageError(
            "int8 runs on the CPU in OpenVINO: use --device cpu and --engine auto where there is one, or --precision "
            "fast."
        )
    return _run(chosen, precision, batch, workers, cache, out, seed, engine, draft)


def _run(
    device: str,
    precision: str,
    batch: int,
    workers: int,
    cache: Path | None,
    out: Path | None,
    seed: int,
    engine: str,
    draft: bool,
) -> Run:
    from diptych.backbones.engines.engine import Engines
    from diptych.cli.console import Display, say
    from diptych.core.run import Run

    return Run(
        seed=seed,
        device=device,
        precision=PRECISIONS[precision],
        cache=cache_folder(cache) / EMBEDDINGS,
        shared_cache=shared_store(),
        out=out,
        batch=batch,
        workers=workers,
        progress=Display().bar,
        decode="draft" if draft else "exact",
        engine=None if engine == "torch" else Engines(cache_folder(cache) / ENGINES, engine, say),
    )


def recalled_run(
    name: str,
    device: str,
    precision: str,
    batch: int,
    workers: int,
    cache: Path | None,
    engine: str,
    draft: bool = False,
) -> tuple[Remembered, Run] | None:
    """Return a remembered backbone and the run that these options describe; None where only torch can answer. Imports
    no torch.
    """
    from diptych.backbones.engines.remembered import recall

    if precision not in PRECISIONS or engine not in ("auto", "onnx", "openvino"):
        return None
    known = recall(name, cache_folder(cache) / ENGINES)
    if known is None or "cpu" not in (device, known.device if device == "auto" else ""):
        return None
    return known, _run("cpu", precision, batch, workers, cache, None, 0, engine, draft)


def remember(name: str, backbone: Backbone, device: str, run: Run, cache: Path | None) -> None:
    """Remember a backbone for the next process, where "auto" means the CPU."""
    from diptych.backbones.engines.remembered import remember as write

    if device == "auto" and run.device == "cpu" and run.engine is not None:
        write(name, backbone, cache_folder(cache) / ENGINES, "cpu")


def open_backbone(name: str, run: Run) -> Backbone:
    """Load a backbone on the run's device."""
    from diptych.backbones.engines.engine import Engines
    from diptych.backbones.sources.load import load

    backbone = load(name, device=run.device)
    if isinstance(run.engine, Engines):
        run.engine.serve(*backbone.encoders.values())
    return backbone


@contextlib.contextmanager
def workers(address: str | None, threads: int, device: str) -> Iterator[Cluster | None]:
    """Hold the workers of a cluster, one a GPU where the device is one; None where no cluster is asked for."""
    if address is None:
        yield None
        return
    from diptych.tasks.cluster import Cluster

    with Cluster(address, threads, gpus=int(device.startswith("cuda"))) as cluster:
        yield cluster


def crew(pool: Cluster | None, threads: int, backbone: str, device: str) -> Crew | None:
    """Return workers that load this backbone; None where there are none."""
    if pool is None:
        return None
    from diptych.backbones.sources.load import load
    from diptych.tasks.encode_cluster import Crew

    return Crew(pool, partial(load, backbone, device=device), threads)


def integers(text: str, what: str) -> tuple[int, ...]:
    """Return the whole numbers of "1,4,16".

    Raises:
        UsageError: it holds something else.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"--{what} takes whole numbers such as 1,4,16, not {text!r}.") from None


def words(text: str) -> tuple[str, ...]:
    """Return the parts of "a, b, c", trimmed."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def class_names(given: str | None, classes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return class names from a file, a list with commas, or the tidied folder names.

    Raises:
        UsageError: there are none, or another number than classes.
    """
    from diptych.cli.console import say
    from diptych.data.classnames import numbers_for_names, read_names, tidy

    if given is not None and not given.strip():
        raise UsageError('--names is empty: give "cat, dog, ...", a file with one name a line, or leave it out.')
    if given is None:
        if not classes:
            raise UsageError('No class names: give --names "cat, dog, ..." or a file with one name a line.')
        if said := numbers_for_names(classes):
            say(said)
        return tuple(tidy(c) for c in classes)
    if names_file(given):
        return read_names(Path(given), classes)
    return read_names(words(given), classes)


def names_file(given: str) -> bool:
    """Return whether --names is a file: one that is there, or a word with a suffix; lists with commas may hold dots and
    be long.
    """
    return os.path.exists(given) or ("," not in given and bool(Path(given).suffix))


def text_pool(given: str | None) -> Pool | None:
    """Return the pool of descriptions, if one was given."""
    from diptych.data.pools import read_pool

    return read_pool(given) if given else None


def template_set(given: list[str] | None) -> tuple[str, ...]:
    """Return the templates: prompts as given, the lines of a file, or the ensemble of seven."""
    from diptych.data.templates import ENSEMBLE, read_templates

    if not given:
        return ENSEMBLE
    if len(given) == 1 and "{" not in given[0]:
        return read_templates(Path(given[0]))
    return read_templates(given)
