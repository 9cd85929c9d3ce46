"""A graph in ONNX Runtime."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.runtimes.report import RuntimeReport
from diptych.core import Inputs
from diptych.core.entry_points import installed_version

onnxruntime_version = partial(installed_version, "onnxruntime")


class OnnxRunner:
    """A graph in ONNX Runtime; opened at the first call.

    Args:
        threads: threads of one call; 0: OMP_NUM_THREADS, else one a core.
    """

    precision = "fp32"
    facts: Mapping[str, str] = {"engine": "onnxruntime"}
    needs_torch = False

    def __init__(self, report: RuntimeReport, threads: int = 0) -> None:
        self.report, self.threads = report, threads

    @property
    def name(self) -> str:
        """Name for users."""
        return f"onnxruntime {onnxruntime_version()}, fp32"

    @cached_property
    def _session(self) -> Any:
        return onnxruntime().InferenceSession(
            str(self.report.path), session_options(self.threads), providers=["CPUExecutionProvider"]
        )

    def __call__(self, x: Inputs | Mapping[str, NDArray[Any]], /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs, arrays or CPU tensors."""
        return self._session.run(None, arrays(x, self.report.inputs))[0]


def arrays(x: Any, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return a graph's inputs by name, as arrays."""
    parts: Mapping[str, Any] = x if isinstance(x, Mapping) else {names[0]: x}
    return {name: np.ascontiguousarray(parts[name]) for name in names}


def session_options(threads: int = 0) -> Any:
    """Return ONNX Runtime's options: quiet, and idle threads sleep instead of taking the cores of those that decode."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads or requested_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry, which writes a device identifier into the home folder at import.

    The environment variable is ONNX Runtime's switch; a value that is already set stays.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")


def requested_threads() -> int:
    """Return OMP_NUM_THREADS; 0 where it is not set."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else 0
