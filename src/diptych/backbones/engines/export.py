"""An encoder as an ONNX graph, on bfloat16 weights or in int8, made once and judged beside torch."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.engines.half import module_of
from diptych.backbones.engines.parity import compared, fixed_items, measured_speeds
from diptych.backbones.engines.runners import BOUNDS, EXACT, graph_folder, opened
from diptych.backbones.engines.runtimes.made import (
    FACTS,
    GRAPH,
    IR,
    Made,
    hash_graph,
    onnx_version,
    read_made,
    stamp_of,
    torch_version,
)
from diptych.backbones.engines.runtimes.onnx import onnxruntime_version
from diptych.backbones.engines.runtimes.openvino import openvino_version
from diptych.core.backbone import Encoder
from diptych.core.errors import DiptychError, MissingExtra

OPSET = 17
NUMBERS = ("cosine", "speed", "small_photos")
"""Facts that may be unknown."""


class _Environment(Exception):
    """A failure that says nothing about the encoder: a package, memory or disk space is missing. It is never stored."""


def make(encoder: Encoder[Any], place: Path, runtime: str, precision: str) -> Made:
    """Compare an encoder on a runtime with torch, exporting it first where nobody has, and put what was found in its
    folder, untimed.

    Args:
        encoder: float32, on the CPU.
        place: the folder; whoever puts it there first counts. The graph lies beside it.
        runtime: "onnxruntime", "openvino" or "torch".
        precision: "fp32", "bf16" or "int8".

    Returns:
        What now lies there; nothing is written where the environment is to blame, so that the next run tries again.

    Raises:
        DiptychError: the folder cannot be written.
    """
    try:
        return _made(encoder, place, runtime, precision)
    except _Environment as error:
        return Made(place, False, str(error))


def _made(encoder: Encoder[Any], place: Path, runtime: str, precision: str) -> Made:
    if runtime == "torch":
        return _put(place, lambda draft: _measured(Made(draft, True), encoder, runtime, precision))
    graph = place.with_name(graph_folder(encoder))
    found = read_made(graph) or _put(graph, lambda draft: _graph(encoder, draft))
    if not found.supported:
        return _put(place, lambda draft: Made(draft, False, found.reason))
    if precision == "int8":
        return _put(place, lambda draft: _int8(found.path, encoder, draft))
    return _put(
        place, lambda draft: _measured(replace(found, folder=draft, graph=graph.name), encoder, runtime, precision)
    )


def _put(place: Path, work: Callable[[Path], Made]) -> Made:
    """Do work in a draft folder, write its facts there, and rename it to its place; return what then lies there."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.{time.time_ns()}")
    try:
        draft.mkdir(parents=True)
        made = work(draft)
        _write(replace(made, stamp=stamp_of(made.path) if made.sha256 else (), versions=versions()), draft / FACTS)
        _settle(draft, place)
    except OSError as error:
        raise _unwritable(place, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    found = read_made(place)
    if found is None:
        raise DiptychError(
            f"The engine folder {place} does not hold what was written to it: check the disk, or use --engine torch."
        )
    return found


def race(encoder: Encoder[Any], found: Sequence[tuple[Made, str, str]]) -> list[Made]:
    """Time what was made, all in one race with torch, and write the speeds beside the graphs.

    Args:
        encoder: float32, on the CPU.
        found: what was made, its runtime and its precision; what is timed already, or may not be used, comes back as it
            is.

    Raises:
        DiptychError: a folder cannot be written.
    """
    untimed = [place for place, (made, _, _) in enumerate(found) if not made.settled]
    timed = [made for made, _, _ in found]
    if not untimed:
        return timed
    speeds = measured_speeds(encoder, [opened(encoder, *found[place]) for place in untimed])
    for place, speed in zip(untimed, speeds, strict=True):
        made = timed[place] = replace(timed[place], speed=speed.forward, small_photos=speed.small_photos)
        draft = made.folder / f".{FACTS}.{os.getpid()}.{time.time_ns()}"
        try:
            _write(made, draft)
            draft.replace(made.folder / FACTS)
        except OSError as error:
            raise _unwritable(made.folder, error) from error
        finally:
            draft.unlink(missing_ok=True)
    return timed


def _write(made: Made, path: Path) -> None:
    facts = {field.name: getattr(made, field.name) for field in fields(made) if field.name != "folder"}
    facts.update({name: facts[name] if math.isfinite(facts[name]) else None for name in NUMBERS})
    path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _unwritable(place: Path, error: OSError) -> DiptychError:
    return DiptychError(
        f"Cannot write the engine folder {place.parent} ({error}): free space, or name another cache folder."
    )


def versions() -> dict[str, str]:
    """Return the versions of the libraries that export and run."""
    return {
        "torch": torch_version(),
        "onnxruntime": onnxruntime_version(),
        "openvino": openvino_version(),
        "onnx": onnx_version(),
    }


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
    if importlib.util.find_spec("onnx") is None:
        raise _Environment("the package onnx is not installed: run pip install onnx")
    try:
        inputs = to_onnx(encoder, folder / GRAPH)
    except OSError:
        raise  # a full or read-only disk: the caller names the folder
    except (ImportError, MemoryError) as error:
        raise _Environment(f"the export fails here: {_short(error)}") from error
    except Exception as error:  # the exporter refuses with whatever exception comes up
        (folder / GRAPH).unlink(missing_ok=True)
        return Made(folder, False, f"the export fails: {_short(error)}")
    return Made(folder, True, inputs=inputs, sha256=hash_graph(folder / GRAPH))


def _int8(graph: Path, encoder: Encoder[Any], folder: Path) -> Made:
    from diptych.backbones.engines.quantise import fixed_pictures, other_pictures, quantise

    small = folder / IR
    try:
        quantise(graph, small, encoder, fixed_pictures())
    except (MissingExtra, OSError):
        raise
    except (ImportError, MemoryError) as error:
        raise _Environment(f"the quantisation fails here: {_short(error)}") from error
    except Exception as error:  # the quantiser refuses with whatever exception comes up
        return Made(folder, False, f"the quantisation fails: {_short(error)}")
    made = Made(folder, True, inputs=("x",), sha256=hash_graph(small), file=IR)
    return _measured(made, encoder, "openvino", "int8", other_pictures())


def _measured(
    made: Made, encoder: Encoder[Any], runtime: str, precision: str, items: Sequence[Any] | None = None
) -> Made:
    """Return what was made with its cosine, or with the reason why it is not used."""
    try:
        forward = opened(encoder, made, runtime, precision)
        found = compared(encoder, forward, items)
    except (ImportError, MemoryError, OSError) as error:
        raise _Environment(f"it fails here: {_short(error)}") from error
    except Exception as error:  # runtimes refuse with whatever exception comes up
        return replace(made, supported=False, reason=f"it fails: {_short(error)}")
    cosine, mates = (found.mean if precision == "int8" else found.least), float(found.mates.min())
    if cosine < BOUNDS[precision]:
        reason = f"cosine to torch {cosine:.6f}, below {BOUNDS[precision]}"
    elif precision == "int8" and mates < EXACT:
        reason = f"a vector depends on its batch mates, cosine {mates:.6f}"
    else:
        return replace(made, cosine=cosine)
    return replace(made, supported=False, reason=reason, cosine=cosine)


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
    x = encoder.inputs(list(fixed_items(encoder)[:3]))
    parts = {"x": x} if isinstance(x, Tensor) else dict(x)
    free = {0: "batch"} if encoder.size is not None else {0: "batch", 1: "length"}
    graph = _Forward(encoder, None if isinstance(x, Tensor) else tuple(parts))
    with warnings.catch_warnings(), torch.no_grad(), _plain_attention():
        warnings.simplefilter(
            "ignore"
        )  # the exporter remarks on every number that it takes for a constant; parity is measured instead
        torch.onnx.export(
            graph, tuple(parts.values()), str(path), input_names=list(parts), output_names=["vectors"],
            opset_version=OPSET,
            dynamic_axes={**dict.fromkeys(parts, free), "vectors": {0: "batch"}}, dynamo=False,
        )  # fmt: skip
    return tuple(parts)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Let torch's attention modules be traced as plain products: their own trace holds the length that it was made
    with, for ever.
    """
    before, fused = nn.MultiheadAttention.forward, torch.backends.mha.get_fastpath_enabled()

    def forward(self: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> Any:
        mask = more.get("attn_mask")
        simple = all(
            (self._qkv_same_embed_dim, self.in_proj_bias is not None, self.bias_k is None, not self.add_zero_attn)
        )
        if rest or not simple or more.get("key_padding_mask") is not None or not (mask is None or mask.dim() == 2):
            return before(self, query, key, value, *rest, **more)
        return _attention(self, query, key, value, mask), None

    torch.backends.mha.set_fastpath_enabled(False)
    nn.MultiheadAttention.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.MultiheadAttention.forward = before  # type: ignore[method-assign]
        torch.backends.mha.set_fastpath_enabled(fused)


def _attention(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k' / sqrt(d) + mask) v of an attention module with one table of weights, in its own layout."""
    if not module.batch_first:
        query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
    width, heads = module.embed_dim, module.num_heads
    parts = []
    for x, w, b in zip(
        (query, key, value),
        torch.split(module.in_proj_weight, width),
        torch.split(module.in_proj_bias, width),
        strict=True,
    ):
        parts.append(torch.unflatten(nn.functional.linear(x, w, b), -1, (heads, width // heads)).transpose(1, 2))
    q, k, v = parts
    scores = (q / (width // heads) ** 0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    out: Tensor = module.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(-2))
    return out if module.batch_first else out.transpose(0, 1)


class _Forward(nn.Module):
    def __init__(self, encoder: Encoder[Any], names: tuple[str, ...] | None) -> None:
        super().__init__()
        self.module = module_of(encoder)[1]
        self._names, self._encode = names, encoder.encode
        self.eval()

    def forward(self, *parts: Tensor) -> Tensor:
        return self._encode(parts[0] if self._names is None else dict(zip(self._names, parts, strict=True)))
