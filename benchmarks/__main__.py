"""Run the benchmarks and write one JSON: medians of interleaved runs, and their ratios.

    python -m benchmarks [--quick] [--only images:lite,cold] [--rounds 3] [--out out/bench.json]

Contenders of one row take turns, so a busy machine slows all of them alike: read the ratios, not the rates, unless the
machine was idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from diptych.tasks.record import now, threads, versions

PEERS = (
    *("openvino", "sentence-transformers", "pyahocorasick", "onnx", "tokenizers", "pillow"),
    *("faiss-cpu", "lancedb"),
)


@dataclass(frozen=True)
class Entry:
    """A row by name: ``module.function`` and its arguments, whole and for --quick; None: left out there."""

    where: str
    whole: tuple[Any, ...]
    quick: tuple[Any, ...] | None

    def open(self, quick: bool) -> AbstractContextManager[Row]:
        """Prepare the row."""
        module, function = self.where.split(".")
        make: Callable[..., AbstractContextManager[Row]] = getattr(import_module(f"benchmarks.{module}"), function)
        return make(*((self.quick or ()) if quick else self.whole))


SMALL, LARGE = (800, 600), (4000, 3000)
ROWS = {
    "images:ViT-B-32": Entry("encoders.images", ("ViT-B-32", 32), None),
    "images:lite": Entry("encoders.images", ("lite", 32), ("lite", 4)),
    "images:tiny": Entry("encoders.images", ("tiny", 64), ("tiny", 8)),
    "texts:ViT-B-32": Entry("encoders.texts", ("ViT-B-32", 16), None),
    "texts:lite": Entry("encoders.texts", ("lite", 64), ("lite", 8)),
    "texts:tiny": Entry("encoders.texts", ("tiny", 64), ("tiny", 8)),
    "folder:ViT-B-32:800x600": Entry("folders.vectors", ("ViT-B-32", 48, SMALL), None),
    "folder:lite:800x600": Entry("folders.vectors", ("lite", 128, SMALL), ("lite", 8, SMALL)),
    "folder:lite:12MP": Entry("folders.vectors", ("lite", 16, LARGE), None),
    "whole:400": Entry("whole.encode", ("ViT-B-32", 400), ("tiny", 24)),
    "scaling": Entry("folders.growing", ("lite", (1_000, 4_000, 16_000)), ("tiny", (64, 256))),
    "labels:10": Entry("heads.labels", (10, "ViT-B-32", 16), (10, "tiny", 2)),
    "labels:100": Entry("heads.labels", (100, "ViT-B-32", 8), None),
    "labels:1000": Entry("heads.labels", (1000, "ViT-B-32", 4), None),
    "heads:ViT-B-32:4x80": Entry("heads.heads", (4, "ViT-B-32"), None),
    "heads:small:1000x80": Entry("heads.heads", (1000, "small"), (20, "small")),
    "cold": Entry("cold.starts", ("ViT-B-32",), ("tiny",)),
    "cold:commands": Entry("cold.commands", (400,), (20,)),
    "board:6": Entry("systems.cached_board", (6, 120), (3, 30)),
    "gda:1000x16x1024": Entry("systems.gaussian", (1000, 16, 1024), (100, 8, 128)),
    "systems:100x16x512": Entry("systems.all_systems", (100, 16, 10, 512), (8, 4, 4, 64)),
    "segment:lite:512": Entry("segment.photos", ("lite", 512, 4), ("lite", 128, 1)),
    "segment:lite:1024": Entry("segment.photos", ("lite", 1024, 2), None),
    "segmenters:lite:512": Entry("segmenters.segmenting", ("lite", 512, 4), ("tiny", 64, 1)),
    "segmenters:lite:1024": Entry("segmenters.segmenting", ("lite", 1024, 4), None),
    "masks:lite:224": Entry("segment.stages", ("lite", 224, 16, 2), ("lite", 96, 4, 1)),
    "masks:lite:448": Entry("segment.stages", ("lite", 448, 16, 1), None),
    "serve:ViT-B-32": Entry("serve.answers", ("ViT-B-32", 160), None),
    "serve:lite": Entry("serve.answers", ("lite", 500), None),
    "serve:tiny": Entry("serve.answers", ("tiny", 1000), ("tiny", 64, 8)),
    "fudd": Entry("systems.follow_ups", (100, 100), (20, 20)),
    "reindex:50000": Entry("folders.unchanged", (50_000,), (1_000,)),
    "loss:clip:4096": Entry("losses.memory", ("clip", 4096), ("clip", 1024)),
    "loss:clip:8192": Entry("losses.memory", ("clip", 8192), None),
    "loss:siglip:4096": Entry("losses.memory", ("siglip", 4096), None),
    "loss:siglip:8192": Entry("losses.memory", ("siglip", 8192), None),
    "loss:clip:2x2048": Entry("losses.memory", ("clip", 4096, 2, 2), ("clip", 512, 1, 2)),
    "loss:siglip:2x2048": Entry("losses.memory", ("siglip", 4096, 2, 2), None),
    "average:tiny:2x16": Entry("averages.steps", ("tiny", 16, 7), ("tiny", 2, 1)),
    "train:tiny": Entry("trainers.epochs", ("tiny", 256, 64), ("tiny", 16, 8)),
    "train:ViT-B-32": Entry("trainers.epochs", ("ViT-B-32", 32, 16), None),
    "step:tiny": Entry("objectives.steps", ("tiny", 32, 512), ("tiny", 2, 8)),
    "step:ViT-S-16": Entry("objectives.steps", ("ViT-S-16", 8, 1024), None),
    "generate:16": Entry("generation.pictures", (16,), (2,)),
    "curate:200000": Entry("curate.counting", (200_000,), (5_000,)),
    "ray:curate": Entry("workers.planning", (1_000_000, 16), (20_000, 4)),
    "curators:20000": Entry("curators.curating", (20_000, 256), (1_200, 64)),
    "dedup:20000x256": Entry("dedup.deduplicating", (20_000, 256), (2_000, 16)),
    "search:200000x512": Entry("neighbours.neighbours", (200_000, 512), (3_000, 32)),
    "filter:50000x512": Entry("filtered.filtered", (50_000, 512), (3_000, 32)),
    "filter:1000000x512": Entry("filtered.filtered", (1_000_000, 512), None),
    "keys:1e8": Entry("keys.growing", ("planned", (10_000_000, 100_000_000)), ("planned", (1_000, 2_000))),
    "encode:1e7": Entry("keys.growing", ("encoded", (100_000, 1_000_000, 10_000_000)), ("encoded", (1_000, 2_000))),
}


def main() -> int:
    """Measure, print and write; 1 where a row failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help=f"rows, separated by commas: {', '.join(ROWS)}")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: proves that the rows run, and nothing else"
    )
    parser.add_argument("--rounds", type=int, help="of each row, at most: 3 (1 with --quick)")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"))
    options = parser.parse_args()
    chosen = (
        options.only.split(",")
        if options.only
        else [name for name, entry in ROWS.items() if not options.quick or entry.quick is not None]
    )
    unknown = [name for name in chosen if name not in ROWS or (options.quick and ROWS[name].quick is None)]
    if unknown:
        parser.error(
            f"no row {', '.join(unknown)}{' with --quick' if options.quick else ''}: choose from {', '.join(ROWS)}"
        )
    rounds, start = options.rounds or (1 if options.quick else 3), time.perf_counter()
    rows: dict[str, Any] = {}
    for name in chosen:
        rows[name] = one(ROWS[name], options.quick, rounds)
        show(name, rows[name])
        write(options.out, rows, options.quick, rounds, time.perf_counter() - start)
    print(
        f"{options.out}: {len(rows)} rows in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores"
    )
    return int(any("error" in row for row in rows.values()))


def one(entry: Entry, quick: bool, rounds: int) -> dict[str, Any]:
    """Return a row with the load around it; one that cannot be measured says why, and the others go on."""
    before, start = os.getloadavg()[0], time.perf_counter()
    try:
        with entry.open(quick) as row:
            row_result = row.measured(rounds)
    except Exception as error:
        row_result = {"error": f"{type(error).__name__}: {error}"}
    return {**row_result, "load": [before, os.getloadavg()[0]], "wall_seconds": time.perf_counter() - start}


def show(name: str, row: dict[str, Any]) -> None:
    """Print a row."""
    print(f"{name}  ({row['wall_seconds']:.0f} s)", flush=True)
    if "error" in row:
        print(f"  FAILED: {row['error']}", flush=True)
        return
    for who, of in row["rows"].items():
        cosine = "" if of["cosine"] is None else f"cosine {of['cosine']:.6f}"
        print(
            f"  {who:<50}{of['per_second']:>10.1f} {row['unit']}/s {of['seconds']:>9.3f} s {of['ratio']:>7.2f} x  "
            f"{cosine}"
        )
    for who, why in row["missing"].items():
        print(f"  {who:<50} skipped: {why}")
    for target in row["targets"]:
        value = "not measured" if target["measured"] is None else f"{target['measured']:.3g}"
        sign, verdict = (
            ("at least", "at most")[not target["least"]],
            {True: "met", False: "MISSED", None: "-"}[target["met"]],
        )
        print(f"  target: {target['what']}: {value}, {sign} {target['target']:g}: {verdict}", flush=True)


def without_place(words: Sequence[str]) -> list[str]:
    """Return the words of a command without ``--out``: where a file was written belongs to one machine."""
    return [w for before, w in zip(("", *words), words, strict=False) if "--out" not in (before, w.partition("=")[0])]


def write(
    out: Path, results: dict[str, Any], quick: bool, rounds: int, seconds: float, module: str = "benchmarks"
) -> None:
    """Write what is measured so far."""
    about = {
        "kind": "benchmarks",
        "date": now(),
        "quick": quick,
        "rounds": rounds,
        "seconds": seconds,
        "machine": platform.machine(),
        "processor": processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "versions": {**versions(), **{name: v for name in PEERS if (v := version(name))}},
        "command": " ".join([f"python -m {module}", *without_place(sys.argv[1:])]),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**about, "benchmarks": results}, indent=1) + "\n", encoding="utf-8")


def processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def instructions() -> str:
    """Return torch's name of the vector instructions, and whether OpenVINO finds bfloat16; the processor's name
    alone does not tell.
    """
    import torch

    result = torch.backends.cpu.get_cpu_capability()
    if not version("openvino"):
        return result
    from openvino import Core

    kinds = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return f"{result}, {'with' if 'BF16' in kinds else 'without'} bfloat16"


def version(name: str) -> str:
    """Return the version of a package; "" where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
