"""Export of an encoder as an ONNX graph, with bfloat16 weights or in int8, compared with torch once."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.engines.copies import module_of, only_pooled
from diptych.backbones.engines.parity import Reference, fixed_items, measured_speeds
from diptych.backbones.engines.runners import BOUNDS, EXACT, graph_folder, opened
from diptych.backbones.engines.runtimes.onnx import onnxruntime_version
from diptych.backbones.engines.runtimes.openvino import openvino_version
from diptych.backbones.engines.runtimes.report import (
    EXPORTER,
    FACTS,
    GRAPH,
    IR,
    RuntimeReport,
    hash_graph,
    onnx_version,
    read_report,
    stamp_of,
    torch_version,
)
from diptych.core import DiptychError, Encoder, MissingExtra
from diptych.data.files import drafted, write_json

OPSET = 17


class _Environment(Exception):
    """A failure that is not the encoder's, such as missing packages, memory or disk space. It is never stored."""


def make(reference: Reference, folder: Path, runtime: str, precision: str) -> RuntimeReport:
    """Export an encoder where there is no graph, compare it with torch, and write the report to its folder.

    Args:
        reference: fixed items of the encoder, which is in float32 on the CPU; runtimes that are compared share it.
        folder: the folder of the report, with the graph beside it. The first process that writes it counts.
        runtime: "onnxruntime", "openvino" or "torch".
        precision: "fp32", "bf16" or "int8".

    Returns:
        The report, without a speed. Failures of the environment are not written, so that the next run tries again.

    Raises:
        DiptychError: the folder cannot be written.
    """
    try:
        return _exported(reference, folder, runtime, precision)
    except _Environment as error:
        return RuntimeReport(folder, False, str(error))


def _exported(reference: Reference, folder: Path, runtime: str, precision: str) -> RuntimeReport:
    if runtime == "torch":
        return _put(folder, lambda draft: _measured(RuntimeReport(draft, True), reference, runtime, precision))
    encoder = reference.encoder
    graph = folder.with_name(graph_folder(encoder))
    report = read_report(graph) or _put(graph, lambda draft: _graph(encoder, draft))
    if not report.supported:
        return _put(folder, lambda draft: RuntimeReport(draft, False, report.reason))
    if precision == "int8":
        return _put(folder, lambda draft: _int8(report.path, encoder, draft))
    return _put(
        folder, lambda draft: _measured(replace(report, folder=draft, graph=graph.name), reference, runtime, precision)
    )


def _put(folder: Path, work: Callable[[Path], RuntimeReport]) -> RuntimeReport:
    """Do work in a draft folder, write its facts there, and rename it to ``folder``; return its report."""
    try:
        with drafted(folder, overwrite=True) as draft:
            draft.mkdir()
            report = work(draft)
            _write(
                replace(report, stamp=stamp_of(report.path) if report.sha256 else (), versions=versions()),
                draft / FACTS,
            )
            if read_report(folder) is not None:
                raise FileExistsError(f"another process has put {folder} there")
    except OSError as error:
        if read_report(folder) is None:
            raise _unwritable(folder, error) from error
    written = read_report(folder)
    if written is None:
        raise DiptychError(
            f"The engine folder {folder} does not hold what was written to it: check the disk, or use {{engine}} torch."
        )
    return written


def race(
    encoder: Encoder[Any],
    reports: Sequence[tuple[RuntimeReport, str, str]],
    advance: Callable[[int], None] = lambda n: None,
) -> list[RuntimeReport]:
    """Time exports in one race with torch, and write the speeds to their reports.

    Args:
        encoder: encoder in float32, on the CPU.
        reports: report, runtime and precision of each; those with a speed, or that may not be used, stay unchanged.
        advance: called with the number of turns that are over, MOST of ``parity`` in all.

    Raises:
        DiptychError: a folder cannot be written.
    """
    untimed = [position for position, (report, _, _) in enumerate(reports) if not report.settled]
    timed = [report for report, _, _ in reports]
    if not untimed:
        return timed
    speeds = measured_speeds(encoder, [opened(encoder, *reports[position]) for position in untimed], advance)
    for position, speed in zip(untimed, speeds, strict=True):
        report_with_speed = timed[position] = replace(
            timed[position], speed=speed.forward, small_photos=speed.small_photos
        )
        try:
            _write(report_with_speed, report_with_speed.folder / FACTS)
        except OSError as error:
            raise _unwritable(report_with_speed.folder, error) from error
    return timed


def _write(report: RuntimeReport, path: Path) -> None:
    facts = {field.name: getattr(report, field.name) for field in fields(report) if field.name != "folder"}
    write_json(path, facts, overwrite=True)


def _unwritable(folder: Path, error: OSError) -> DiptychError:
    return DiptychError(
        f"Cannot write the engine folder {folder.parent} ({error}): free space, or name another folder "
        "({cache}, or DIPTYCH_CACHE)."
    )


def versions() -> dict[str, str]:
    """Return the versions of the libraries that export and run, and of the way in which graphs are written."""
    return {
        "torch": torch_version(),
        "onnxruntime": onnxruntime_version(),
        "openvino": openvino_version(),
        "onnx": onnx_version(),
        "exporter": EXPORTER,
    }


def _graph(encoder: Encoder[Any], folder: Path) -> RuntimeReport:
    if importlib.util.find_spec("onnx") is None:
        raise _Environment("the package onnx is not installed: run pip install onnx")
    try:
        inputs = to_onnx(encoder, folder / GRAPH)
    except OSError:
        raise  # a full or read-only disk: the caller names the folder
    except (ImportError, MemoryError) as error:
        raise _Environment(f"the export fails here: {_short(error)}") from error
    except Exception as error:  # the exporter raises all kinds of exceptions
        (folder / GRAPH).unlink(missing_ok=True)
        return RuntimeReport(folder, False, f"the export fails: {_short(error)}")
    return RuntimeReport(folder, True, inputs=inputs, sha256=hash_graph(folder / GRAPH))


def _int8(graph: Path, encoder: Encoder[Any], folder: Path) -> RuntimeReport:
    from diptych.backbones.engines.quantise import fixed_pictures, other_pictures, quantise

    small = folder / IR
    try:
        quantise(graph, small, encoder, fixed_pictures())
    except (MissingExtra, OSError):
        raise
    except (ImportError, MemoryError) as error:
        raise _Environment(f"the quantisation fails here: {_short(error)}") from error
    except Exception as error:  # the quantiser raises all kinds of exceptions
        return RuntimeReport(folder, False, f"the quantisation fails: {_short(error)}")
    report = RuntimeReport(folder, True, inputs=("x",), sha256=hash_graph(small), file=IR)
    return _measured(report, Reference(encoder, other_pictures()), "openvino", "int8")


def _measured(report: RuntimeReport, reference: Reference, runtime: str, precision: str) -> RuntimeReport:
    """Return a report with its cosine, or with the reason why it is not used."""
    try:
        comparison = reference.compared(opened(reference.encoder, report, runtime, precision))
    except (ImportError, MemoryError, OSError) as error:
        raise _Environment(f"it fails here: {_short(error)}") from error
    except Exception as error:  # runtimes raise all kinds of exceptions
        return replace(report, supported=False, reason=f"it fails: {_short(error)}")
    cosine, mates = (comparison.mean if precision == "int8" else comparison.least), float(comparison.mates.min())
    if cosine < BOUNDS[precision]:
        reason = f"cosine to torch {cosine:.6f}, below {BOUNDS[precision]}"
    elif precision == "int8" and mates < EXACT:
        reason = f"a vector depends on its batch mates, cosine {mates:.6f}"
    else:
        return replace(report, cosine=cosine)
    return replace(report, supported=False, reason=reason, cosine=cosine)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + lines[0][:160] if lines else ''}"


def to_onnx(encoder: Encoder[Any], path: Path) -> tuple[str, ...]:
    """Write a float32 encoder's forward, on the CPU, as an ONNX graph with a free batch size, and for texts a free
    length.

    Returns:
        Names of the inputs.
    """
    x = encoder.inputs(list(fixed_items(encoder)[:3]))
    parts = {"x": x} if isinstance(x, Tensor) else dict(x)
    free = {0: "batch"} if encoder.size is not None else {0: "batch", 1: "length"}
    graph = _Forward(only_pooled(encoder), None if isinstance(x, Tensor) else tuple(parts))
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
    """Trace torch's attention modules as plain products: their own trace fixes the length it was made with."""
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
