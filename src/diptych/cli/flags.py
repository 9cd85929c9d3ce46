"""Flags that several commands share. Every flag is also read from DIPTYCH_<FLAG>."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

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
AutoBatch = Annotated[int, _model("--batch", help="Items encoded at once; 0: chosen by timing the first ones.", min=0)]
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
