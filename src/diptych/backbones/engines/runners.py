"""What opens an export: the runner of each runtime, the bounds it must keep, and the folder of its graph."""

from __future__ import annotations

from typing import Any

from diptych.backbones.engines.runtimes.made import Made, torch_version
from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner
from diptych.backbones.engines.runtimes.torch_weights import Bf16Runner
from diptych.core.backbone import Encoder
from diptych.core.run import Runner

EXACT, FAST, INT8 = 0.99999, 0.9999, 0.98
"""Least cosines to torch's float32 vectors, of float32 runtimes and of bfloat16; least mean cosine of int8, below which
something is broken (ours: what int8 costs in accuracy, ``diptych export --labelled`` measures)."""
BOUNDS = {"fp32": EXACT, "bf16": FAST, "int8": INT8}


def opened(encoder: Encoder[Any], made: Made, runtime: str, precision: str) -> Runner:
    """Return what runs an encoder as it was made."""
    if runtime == "torch":
        return Bf16Runner(encoder)
    return OnnxRunner(made) if runtime == "onnxruntime" else OpenVinoRunner(made, precision)


def graph_folder(encoder: Encoder[Any]) -> str:
    """Return the name of the folder that holds an encoder's graph."""
    return f"{encoder.fingerprint}-graph-torch-{plain_version(torch_version())}"


def plain_version(version: str) -> str:
    """Return a version that may stand in a file's name."""
    return version.replace("+", "_")
