"""A graph in OpenVINO, in float32, bfloat16 or with int8 matrix products, without telemetry."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.runtimes.onnx import arrays, requested_threads
from diptych.backbones.engines.runtimes.report import RuntimeReport
from diptych.backbones.engines.runtimes.signal_stack import separate_signal_stack
from diptych.core import MissingExtra
from diptych.core.entry_points import installed_version

openvino_version = partial(installed_version, "openvino")

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
"""Precision -> OpenVINO's type; for int8, the type of the operations that are not quantised."""


class OpenVinoRunner:
    """A graph in OpenVINO; opened at the first call.

    Args:
        precision: "fp32", "bf16" or "int8".
        threads: threads of one call; 0: OMP_NUM_THREADS, else OpenVINO's own choice.
    """

    needs_torch = False

    def __init__(self, report: RuntimeReport, precision: str = "fp32", threads: int = 0) -> None:
        self.report, self.precision, self.threads = report, precision, threads
        self._one_at_a_time = threading.Lock()

    @property
    def facts(self) -> Mapping[str, str]:
        """What the embedding store must distinguish; vectors of an int8 graph depend on its calibration."""
        return {"engine": "openvino", **({"graph": self.report.sha256} if self.precision == "int8" else {})}

    @property
    def name(self) -> str:
        """Name for users."""
        return f"openvino {openvino_version()}, {self.precision}"

    @cached_property
    def _request(self) -> Any:
        core = openvino().Core()
        with separate_signal_stack():
            return core.compile_model(
                str(self.report.path), "CPU", options(self.precision, self.threads)
            ).create_infer_request()

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs, arrays or CPU tensors."""
        with self._one_at_a_time:  # a request holds the tensors of one call
            outputs = self._request.infer(arrays(x, self.report.inputs), share_inputs=True)
            rows: NDArray[np.float32] = np.array(outputs[0], dtype=np.float32)
        return rows


def options(precision: str, threads: int = 0) -> dict[str, Any]:
    """Return OpenVINO's options: one call at a time on all threads, without pinning to cores."""
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    threads = threads or requested_threads()
    return {**settings, "INFERENCE_NUM_THREADS": threads} if threads else settings


def openvino() -> Any:
    """Import OpenVINO without its telemetry.

    The telemetry writes an identifier into the home folder and reports to a server.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        with without("openvino_telemetry"):
            return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtra("openvino", "openvino", "OpenVINO") from error


@contextlib.contextmanager
def without(name: str) -> Iterator[None]:
    """Make a package appear absent to imports within the block; OpenVINO then uses its stub for telemetry."""
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
