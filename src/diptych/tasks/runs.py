"""A run and a backbone from plain values, for the command line and for Python. Loads torch with a run only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diptych.core import Progress, Run, UsageError
from diptych.core.run import silent

if TYPE_CHECKING:
    from diptych.core import Backbone

Precision = Literal["exact", "fast", "int8", "fp32", "bf16"]
EngineKind = Literal["auto", "torch", "onnx", "openvino"]
EMBEDDINGS, KEYS, ENGINES = "embeddings", "keys.sqlite", "engines"
"""What a cache folder holds: the embedding store, the content keys of files, and encoders prepared for this machine."""
PRECISIONS: dict[str, str] = {"fp32": "fp32", "exact": "fp32", "bf16": "bf16", "fast": "bf16", "int8": "int8"}


def cache_folder(given: str | Path | None = None) -> Path:
    """Return the given folder, else that of DIPTYCH_CACHE, else XDG_CACHE_HOME/diptych, else ~/.cache/diptych."""
    given = given or os.environ.get("DIPTYCH_CACHE", "")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "diptych"


def shared_store() -> Path | None:
    """Return the embeddings of the cache folder that DIPTYCH_SHARED_CACHE names: read first, never written."""
    shared = os.environ.get("DIPTYCH_SHARED_CACHE", "")
    return Path(shared).expanduser() / EMBEDDINGS if shared else None


def precision_named(name: str) -> str:
    """Return "fp32", "bf16" or "int8".

    Raises:
        UsageError: no precision has this name.
    """
    if name not in PRECISIONS:
        raise UsageError(f"Precision {name!r} is unknown: use exact (fp32), fast (bf16) or int8.")
    return PRECISIONS[name]


def device_named(name: str) -> str:
    """Return a torch device that is there; "auto" takes a GPU if there is one.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise UsageError(f"There is no device {name!r} here: use cpu or auto.") from error
    return name


def make_run(
    *,
    device: str = "cpu",
    precision: str = "exact",
    engine: str = "auto",
    cache: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    draft: bool = False,
    batch: int = 32,
    workers: int = 2,
    progress: Callable[[str, int | None], Progress] = silent,
    report: Callable[[str], None] = lambda line: None,
    remark: Callable[[str], None] | None = None,
    few: bool = False,
) -> Run:
    """Return the run that plain values describe.

    Args:
        device: of torch, see ``device_named``.
        precision: see ``precision_named``.
        engine: what runs encoders on the CPU, see ``backbones.engines.engine.Engines``; "torch" asks for none.
        cache: the cache folder; None keeps no embeddings, and exported encoders in ``cache_folder()``.
        seed: of the run.
        out: folder for results.
        batch: items encoded at once.
        workers: threads that decode.
        progress: makes a bar from (name, total).
        draft: decode large JPEG photos at a fraction of their size.
        report: called with a line on what runs each encoder.
        remark: called with those lines that a user should see in any case, see ``Engines``; None: ``report``.
        few: the run encodes few items, see ``Engines``.

    Raises:
        UsageError: an unknown precision or engine, or int8 on a device or engine that cannot run it.
        MissingExtra: OpenVINO is asked for and not installed.
    """
    from diptych.backbones.engines.engine import Engines

    chosen, folder = precision_named(precision), (cache or cache_folder()) / ENGINES
    if chosen == "int8" and (device != "cpu" or engine not in ("auto", "openvino")):
        raise UsageError(
            "int8 runs on the CPU in OpenVINO: use {device} cpu and {engine} auto where there is one, or "
            "{precision} fast."
        )
    return Run(
        seed=seed,
        device=device,
        precision=chosen,
        cache=None if cache is None else cache / EMBEDDINGS,
        shared_cache=shared_store(),
        out=out,
        batch=batch,
        workers=workers,
        progress=progress,
        decode="draft" if draft else "exact",
        engine=None if engine == "torch" else Engines(folder, engine, report, remark, few),
    )


def open_backbone(name: str, run: Run, *, spaces: bool = False) -> Backbone:
    """Load a backbone on the run's device.

    Args:
        name: of the backbone.
        run: device and engine.
        spaces: whether a fitted space may stand in its place: "space:FOLDER", or FOLDER, of ``diptych extend``. It
            takes samples of its modality and no photos.

    Raises:
        UsageError: the name is that of a fitted space, and none is taken.
    """
    from diptych.backbones.sources.load import load

    if name.startswith("space:") or Path(name, "fitted.json").is_file():
        from diptych.backbones.names import space_folder
        from diptych.tasks.space_classifier import facts_of, open_space

        folder = space_folder(name)
        if folder is not None and spaces:
            return open_space(folder, lambda base: load(base, device=run.device))
        if folder is not None:
            raise UsageError(
                f"{name} is a fitted space of {facts_of(folder).samples} and not a backbone of photos: it is taken by "
                f"'diptych index', 'search' and 'serve', and as the model of 'classify'."
            )
    return served(load(name, device=run.device), run)


def random_remark(backbone: Backbone) -> str:
    """Return a line on a backbone whose weights are random; "" for others."""
    spec = backbone.spec
    return f"{spec.name} has random weights: its answers mean nothing." if spec.weights.startswith("random:") else ""


def served(backbone: Backbone, run: Run) -> Backbone:
    """Let the run's engine run the encoders of this backbone, and none that a method composes of them."""
    from diptych.backbones.engines.engine import Engines

    if isinstance(run.engine, Engines):
        run.engine.serve(*backbone.encoders.values())
    return backbone
