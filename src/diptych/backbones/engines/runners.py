"""The runner of each runtime, the bounds of its vectors, and the folder of its graph."""

from __future__ import annotations

from typing import Any

from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner
from diptych.backbones.engines.runtimes.report import RuntimeReport, torch_version
from diptych.backbones.engines.runtimes.torch_weights import Bf16Runner
from diptych.core import Encoder, Runner

EXACT, FAST, INT8 = 0.99999, 0.9999, 0.98
"""Least cosines to torch's float32 vectors, of float32 runtimes and of bfloat16; least mean cosine of int8, below which
something is broken (ours: what int8 costs in accuracy, ``diptych export --labelled`` measures)."""
BOUNDS = {"fp32": EXACT, "bf16": FAST, "int8": INT8}


def opened(encoder: Encoder[Any], report: RuntimeReport, runtime: str, precision: str) -> Runner:
    """Return the runner of an encoder by its report."""
    if runtime == "torch":
        return Bf16Runner(encoder)
    return OnnxRunner(report) if runtime == "onnxruntime" else OpenVinoRunner(report, precision)


def graph_folder(encoder: Encoder[Any]) -> str:
    """Return the name of the folder of an encoder's graph."""
    return f"{encoder.fingerprint}-graph-torch-{plain_version(torch_version())}"


def plain_version(version: str) -> str:
    """Return a version without characters that a file name must not have."""
    return version.replace("+", "_")
