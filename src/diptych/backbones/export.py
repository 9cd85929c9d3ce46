"""An encoder as an ONNX graph, or on bfloat16 weights; how near its vectors stay to torch's float32 ones, and how fast they come."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.backbones.engine import BOUNDS, graph_folder, opened
from diptych.backbones.runtimes.made import FACTS, GRAPH, Made, read_made, stamp_of
from diptych.backbones.runtimes.onnx import onnxruntime_version
from diptych.backbones.runtimes.openvino import openvino_version
from diptych.backbones.runtimes.torch_weights import torch_version
from diptych.backbones.selftest import SENTENCE, picture
from diptych.core.backbone import Encoder, Inputs
from diptych.core.errors import DiptychError
from diptych.data.keys import hash_file

OPSET = 17
TURNS, LONG = 5, 8.0
"""Timed turns of an encoder, and the seconds after which no further one starts."""
TEXTS = (
    SENTENCE,
    "cat",
    "a photo of a dog.",
    "two small boats on a calm lake, seen from a bridge in the morning",
    "a close-up photo of the handwritten label on a dark green glass bottle, which stands beside three lemons on a wooden table",
)


def make(encoder: Encoder[Any], place: Path, runtime: str, precision: str) -> Made:
    """Measure an encoder on a runtime, exporting it first where nobody has, and put what was found in its folder.

    Args:
        encoder: float32, on the CPU.
        place: the folder; whoever puts it there first counts. The graph lies beside it.
        runtime: "onnxruntime", "openvino" or "torch".
        precision: "fp32", "bf16" or "int8".

    Returns:
        What now lies there.

    Raises:
        DiptychError: the folder cannot be written.
    """
    if runtime == "torch":
        return _put(place, lambda draft: _measured(Made(draft, True), encoder, runtime, precision))
    graph = place.with_name(graph_folder(encoder))
    found = read_made(graph) or _put(graph, lambda draft: _graph(encoder, draft))
    if not found.supported:
        return _put(place, lambda draft: Made(draft, False, found.reason))
    return _put(place, lambda draft: _measured(replace(found, folder=draft, graph=graph.name), encoder, runtime, precision))


def _put(place: Path, work: Callable[[Path], Made]) -> Made:
    """Do work in a draft folder, write its facts there, and rename it to its place; return what then lies there."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.{time.time_ns()}")
    try:
        draft.mkdir(parents=True)
        made = work(draft)
        facts = {
            "supported": made.supported, "reason": made.reason, "cosine": _or_none(made.cosine), "speed": _or_none(made.speed),
            "inputs": made.inputs, "graph": made.graph, "sha256": made.sha256, "stamp": stamp_of(made.path) if made.sha256 else (),
            "versions": versions(),
        }  # fmt: skip
        (draft / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        _settle(draft, place)
    except OSError as error:
        raise DiptychError(f"Cannot write the engine folder {place.parent} ({error}): free space, or name another cache folder.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    found = read_made(place)
    if found is None:
        raise DiptychError(f"The engine folder {place} does not hold what was written to it: check the disk, or use --engine torch.")
    return found


def versions() -> dict[str, str]:
    """Return the versions of the libraries that export and run."""
    return {"torch": torch_version(), "onnxruntime": onnxruntime_version(), "openvino": openvino_version()}


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _settle(draft: Path, place: Path) -> None:
    """Rename the draft to its place, unless another process has put a whole folder there."""
    for _ in range(3):
        try:
            draft.rename(place)
        except OSError:
            if read_made(place) is not None:
                return
            shutil.rmtree(place, ignore_errors=True)  # damaged
        else:
            return


def _graph(encoder: Encoder[Any], folder: Path) -> Made:
    try:
        inputs = to_onnx(encoder, folder / GRAPH)
    except Exception as error:  # the exporter refuses with whatever exception comes up
        (folder / GRAPH).unlink(missing_ok=True)
        return Made(folder, False, f"the export fails: {_short(error)}")
    return Made(folder, True, inputs=inputs, sha256=hash_file(folder / GRAPH))


def _measured(made: Made, encoder: Encoder[Any], runtime: str, precision: str) -> Made:
    """Return what was made with its cosine and speed, or with the reason why it is not used."""
    try:
        forward = opened(encoder, made, runtime, precision)
        least = parity(encoder, forward)
        speed = measured_speed(encoder, forward)
    except Exception as error:  # runtimes refuse with whatever exception comes up
        return replace(made, supported=False, reason=f"it fails: {_short(error)}")
    if least < BOUNDS[precision]:
        return replace(made, supported=False, reason=f"cosine to torch {least:.6f}, below {BOUNDS[precision]}", cosine=least)
    return replace(made, cosine=least, speed=speed)


def measured_speed(encoder: Encoder[Any], forward: Callable[[Any], Any]) -> float:
    """Return how many times as fast as torch's float32 a forward is: the best of interleaved turns, on the fixed items twice over."""
    x = encoder.inputs([*_items(encoder), *_items(encoder)])
    plain: list[float] = []
    ours: list[float] = []
    for _ in range(TURNS):
        for seconds, run in ((plain, lambda y: rows(encoder, y)), (ours, forward)):
            start = time.perf_counter()
            run(x)
            seconds.append(time.perf_counter() - start)
        if sum(plain) + sum(ours) > LONG:
            break
    return min(plain) / min(ours)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + lines[0][:160] if lines else ''}"


def to_onnx(encoder: Encoder[Any], path: Path) -> tuple[str, ...]:
    """Write an encoder's forward as an ONNX graph with a free batch size, and for texts a free length.

    Args:
        encoder: float32, on the CPU.
        path: file to write.

    Returns:
        Names of the inputs.
    """
    x = encoder.inputs(list(_items(encoder)[:3]))
    parts = {"x": x} if isinstance(x, Tensor) else dict(x)
    free = {0: "batch"} if encoder.size is not None else {0: "batch", 1: "length"}
    graph = _Forward(encoder, None if isinstance(x, Tensor) else tuple(parts))
    with warnings.catch_warnings(), torch.no_grad(), _plain_attention():
        warnings.simplefilter("ignore")  # the exporter remarks on every number that it takes for a constant; parity is measured instead
        torch.onnx.export(
            graph, tuple(parts.values()), str(path), input_names=list(parts), output_names=["vectors"], opset_version=OPSET,
            dynamic_axes={**dict.fromkeys(parts, free), "vectors": {0: "batch"}}, dynamo=False,
        )  # fmt: skip
    return tuple(parts)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Switch off torch's fused attention for inference, which has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Forward(nn.Module):
    def __init__(self, encoder: Encoder[Any], names: tuple[str, ...] | None) -> None:
        super().__init__()
        self.module = _module_of(encoder)[1]
        self._names, self._encode = names, encoder.encode
        self.eval()

    def forward(self, *parts: Tensor) -> Tensor:
        return self._encode(parts[0] if self._names is None else dict(zip(self._names, parts, strict=True)))


def _module_of(encoder: Encoder[Any]) -> tuple[str, nn.Module]:
    for name, value in vars(encoder).items():
        if isinstance(value, nn.Module):
            return name, value
    raise TypeError(f"{type(encoder).__name__} keeps its module where it is not found")


def in_bf16(encoder: Encoder[Any]) -> Callable[[Any], NDArray[np.float32]]:
    """Return the forward of a copy with bfloat16 weights; the other modality's tower is copied with it."""
    name, module = _module_of(encoder)
    half = copy.copy(encoder)
    object.__setattr__(half, name, copy.deepcopy(module).bfloat16())
    return lambda x: rows(half, _halved_inputs(x))


def _halved_inputs(x: Inputs) -> Inputs:
    if isinstance(x, Tensor):
        return x.bfloat16() if x.is_floating_point() else x
    return {name: t.bfloat16() if t.is_floating_point() else t for name, t in x.items()}


def rows(encoder: Encoder[Any], x: Inputs) -> NDArray[np.float32]:
    """Return (B, D) float32 vectors without gradients; the caller's grad mode comes back whatever happens."""
    with torch.no_grad():
        out: NDArray[np.float32] = encoder.encode(x).float().cpu().numpy()
    return out


def parity(encoder: Encoder[Any], forward: Callable[[Any], NDArray[np.float32]], items: Sequence[Any] | None = None) -> float:
    """Return the least cosine between an engine's vectors and torch's float32 ones, over items together and each alone."""
    return min(float(c.min()) for c in cosines(encoder, forward, items))


def cosines(
    encoder: Encoder[Any], forward: Callable[[Any], NDArray[np.float32]], items: Sequence[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (N,) cosines of items that ran together, and of the same items that ran alone.

    Args:
        encoder: float32.
        forward: the engine.
        items: N pictures or texts; None: fixed ones.
    """
    chosen = list(_items(encoder)) if items is None else list(items)
    exact = rows(encoder, encoder.inputs(chosen))
    together = forward(encoder.inputs(chosen))
    alone = np.concatenate([forward(encoder.inputs([item])) for item in chosen])
    return _cosine(exact, together), _cosine(exact, alone)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    if a.shape != b.shape:
        raise ValueError(f"vectors of size {b.shape} instead of {a.shape}")
    u, v = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    return np.where(np.isfinite(found), found, -1.0)


def _items(encoder: Encoder[Any]) -> Sequence[Any]:
    """Return fixed items that the engine is measured on: the self-test picture in several crops and lights, or sentences of all lengths."""
    if encoder.size is None:
        return TEXTS
    wide = picture()
    return [
        wide,
        wide.rotate(180),
        wide.crop((0, 0, 40, 40)),
        wide.point([v // 3 for v in range(256)] * 3),
        wide.convert("L").convert("RGB"),
    ]
