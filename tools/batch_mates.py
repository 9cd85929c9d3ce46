"""Measure whether the bits of a vector depend on its batch mates: ``python tools/batch_mates.py [--json FILE]``.

Each encoder encodes the same items in every engine: in batches of several sizes, each as long as its longest text
(free), and in batches of one fixed shape: again, with other mates at the same place in the batch, and at other places.
The table says which share of the vectors changed a bit. A second instruction set stands in for an older processor;
ONNX Runtime has no switch for it. Takes four minutes of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diptych.backbones.engines.export import to_onnx
from diptych.backbones.engines.parity import TEXTS, rows
from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner
from diptych.backbones.engines.runtimes.report import RuntimeReport
from diptych.backbones.sources.load import load
from diptych.backbones.sources.selftest import picture
from diptych.core import Encoder

ITEMS = 32
SIZES = (8, 16)
"""Fixed batch sizes."""
FREE = (1, 5, 16)
"""Batch sizes among which the free shape is compared."""
LAYERS = 3
"""Blocks that are kept of each tower of ViT-B-32."""
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
QUIET = {"OMP_WAIT_POLICY": "passive"}
"""Threads that wait leave the cores to others: spinning, two of them take minutes on a busy machine."""
SETTINGS = (("default", 1, {}), ("default", 2, {}), ("avx2", 1, AVX2))
"""Name, threads and environment."""

Forward = Callable[[Any], NDArray[np.float32]]


def encoders() -> Iterator[tuple[str, Encoder[Any]]]:
    """Yield the encoders under their names."""
    for name in ("lite", "tiny"):
        backbone = load(name)
        yield from ((f"{name} {modality}", backbone.encoders[modality]) for modality in ("image", "text"))
    vit = load("openclip:ViT-B-32", weights="random")
    for tower in (vit.module().visual.transformer, vit.module().transformer):
        tower.resblocks = tower.resblocks[:LAYERS]
    yield from ((f"ViT-B-32, {LAYERS} blocks, {m}", vit.encoders[m]) for m in ("image", "text"))


def engines(encoder: Encoder[Any], folder: Path, threads: int) -> Iterator[tuple[str, Forward]]:
    """Yield the engines under their names."""
    torch.set_num_threads(threads)
    yield "torch fp32", lambda x: rows(encoder, x)
    report = RuntimeReport(folder, True, inputs=to_onnx(encoder, folder / "model.onnx"))
    yield "ONNX Runtime fp32", OnnxRunner(report, threads)
    for precision in ("fp32", "bf16"):
        yield f"OpenVINO {precision}", OpenVinoRunner(report, precision, threads)


def drawn_items(encoder: Encoder[Any]) -> list[Any]:
    """Return ``ITEMS`` different sentences, or crops of one picture."""
    if encoder.size is None:
        return [*TEXTS, *(f"a photo of {n} things" for n in range(ITEMS))][:ITEMS]
    wide, rng = picture(), np.random.default_rng(0)
    corners = rng.integers(0, (wide.width - 32, wide.height - 32), size=(ITEMS, 2)).tolist()
    return [wide.crop((x, y, x + 32, y + 32)).rotate(90 * n) for n, (x, y) in enumerate(corners)]


def taken(x: Any, where: Sequence[int]) -> Any:
    """Return rows of an encoder's inputs, at a new place in memory."""
    index = torch.as_tensor(where)
    return {name: t[index] for name, t in x.items()} if isinstance(x, Mapping) else x[index]


def in_batches(forward: Forward, x: Any, order: Sequence[int], size: int) -> NDArray[np.float32]:
    """Return the vectors of all items, encoded in this order in batches of one shape; sorted by item."""
    rows = np.concatenate([forward(taken(x, order[i : i + size])) for i in range(0, len(order), size)])
    return rows[np.argsort(order)]


def changed(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the share of vectors that differ in a bit."""
    return float((a.view(np.uint32) != b.view(np.uint32)).any(1).mean())


def free_changed(encoder: Encoder[Any], forward: Forward, items: Sequence[Any]) -> float:
    """Return the share of vectors that are not the same in batches of every size, each as long as its longest text."""

    def encoded(size: int) -> NDArray[np.float32]:
        parts = [items[i : i + size] for i in range(0, len(items), size)]
        return np.concatenate([forward(encoder.inputs(list(part))) for part in parts])

    first, *rest = (encoded(size).view(np.uint32) for size in FREE)
    return float(np.any([(first != other).any(1) for other in rest], axis=0).mean())


def measured(encoder: Encoder[Any], forward: Forward) -> Iterator[dict[str, Any]]:
    """Yield one row a fixed batch size."""
    items, rng = drawn_items(encoder), np.random.default_rng(1)
    x, order = encoder.inputs(items), np.arange(ITEMS)
    free = free_changed(encoder, forward, items)
    for size in SIZES:
        plain = in_batches(forward, x, order, size)
        places = rng.permuted(order.reshape(-1, size), axis=0).ravel()  # each item keeps its place, with other mates
        yield {
            "size": size,
            "free": free,
            "again": changed(plain, in_batches(forward, x, order, size)),
            "mates": changed(plain, in_batches(forward, x, places, size)),
            "places": changed(plain, in_batches(forward, x, rng.permutation(ITEMS), size)),
        }


def measure_all(setting: str, threads: int) -> list[dict[str, Any]]:
    """Return all rows of this process."""
    rows = []
    for name, encoder in encoders():
        with tempfile.TemporaryDirectory() as folder:
            for engine, forward in engines(encoder, Path(folder), threads):
                if setting != "default" and engine in ("ONNX Runtime fp32", "OpenVINO bf16"):
                    continue  # the one has no switch, and no processor of this kind computes in bfloat16
                forward(encoder.inputs(drawn_items(encoder)[:1]))  # opens the engine
                about = {"setting": setting, "threads": threads, "engine": engine, "encoder": name}
                rows += [about | row for row in measured(encoder, forward)]
                sys.stderr.write("\n".join(table(rows[-len(SIZES) :])) + "\n")
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the Markdown table."""
    yield "| instructions | threads | engine | encoder | size | free | again | other mates | other places |"
    yield "|---|---:|---|---|---:|---:|---:|---:|---:|"
    for row in rows:
        shares = " | ".join(f"{row[name]:.0%}" for name in ("free", "again", "mates", "places"))
        yield (
            f"| {row['setting']} | {row['threads']} | {row['engine']} | {row['encoder']} | {row['size']} | {shares} |"
        )


def main() -> None:
    """Measure every setting in a process of its own, which reads its switches at import."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("SETTING", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(measure_all(options.one[0], int(options.one[1]))))
        return
    rows = []
    for setting, threads, switches in SETTINGS:
        command = [sys.executable, __file__, "--one", setting, str(threads)]
        done = subprocess.run(command, env=os.environ | QUIET | switches, check=True, stdout=subprocess.PIPE)
        rows += json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write("\n".join(table(rows)) + "\n")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
