"""What runs an encoder on the CPU in torch's stead: ONNX Runtime, or torch on bfloat16 weights. No torch until something is exported.

    folder/<fingerprint>-<runtime>-<version>-<precision>/facts.json    what was measured when it was made, or why it is not used
                                                         model.onnx    the encoder as a graph (ONNX Runtime only)

A folder appears whole (it is made aside and renamed), so processes that export the same encoder at once do not meet; the first one counts.
An engine is used only where its vectors kept the bound beside torch's float32 forward on fixed pictures or sentences, each alone and all
together; otherwise torch runs the encoder, and the reason is on disk and told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Encoder, Inputs
from diptych.core.errors import UnreadableItem, UsageError
from diptych.core.run import Runner
from diptych.data.keys import hash_file

if TYPE_CHECKING:
    from diptych.core.run import Run

Kind = Literal["auto", "torch", "onnx"]
KINDS: tuple[Kind, ...] = ("auto", "torch", "onnx")
EXACT, FAST = 0.99999, 0.9999
"""Least cosines to torch's float32 vectors: of float32 runtimes, and of bfloat16 weights."""
FACTS, GRAPH = "facts.json", "model.onnx"


@dataclass(frozen=True)
class Made:
    """What is known of one encoder on one runtime.

    Args:
        folder: where it lies.
        supported: whether it may be used.
        reason: why not; "" where it may.
        cosine: least cosine to torch's float32 vectors; NaN where nothing ran.
        inputs: names of the graph's inputs.
        sha256: of the graph; "" without one.
        versions: of the libraries that made it.
    """

    folder: Path
    supported: bool
    reason: str = ""
    cosine: float = float("nan")
    inputs: tuple[str, ...] = ()
    sha256: str = ""
    versions: Mapping[str, str] | None = None


def read_made(folder: Path) -> Made | None:
    """Return what a folder says of itself; None where there is none, or it is damaged (and will be made anew)."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        made = Made(
            folder, bool(facts["supported"]), str(facts["reason"]), float(facts["cosine"] or "nan"), tuple(facts["inputs"]),
            str(facts["sha256"]), dict(facts["versions"]),
        )  # fmt: skip
        return made if not made.sha256 or hash_file(folder / GRAPH) == made.sha256 else None
    except (OSError, ValueError, KeyError, TypeError, UnreadableItem):
        return None


class OnnxRunner:
    """A graph in ONNX Runtime; opened when first needed.

    Args:
        made: a supported export.
        threads: of one call; 0: one a core.
    """

    precision = "fp32"
    facts: Mapping[str, str] = {"engine": "onnxruntime"}

    def __init__(self, made: Made, threads: int = 0) -> None:
        self.made, self.threads = made, threads

    @property
    def name(self) -> str:
        """What a user reads."""
        return f"onnxruntime {onnxruntime_version()}, fp32, cosine to torch at least {self.made.cosine:.7f}"

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(
            str(self.made.folder / GRAPH), session_options(self.threads), providers=["CPUExecutionProvider"]
        )

    def __call__(self, x: Inputs | Mapping[str, NDArray[Any]], /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs, arrays or CPU tensors."""
        parts: Mapping[str, Any] = x if isinstance(x, Mapping) else {self.made.inputs[0]: x}
        rows: NDArray[np.float32] = self._session.run(None, {name: np.asarray(parts[name]) for name in self.made.inputs})[0]
        return rows


def session_options(threads: int = 0) -> Any:
    """Return ONNX Runtime's options: quiet, and idle threads sleep instead of taking the cores of those that decode."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Bf16Runner:
    """The encoder in torch with its weights in bfloat16; copied when first needed.

    Args:
        encoder: float32.
        made: what was measured.
    """

    precision = "bf16"
    facts: Mapping[str, str] = {"engine": "torch bf16 weights"}

    def __init__(self, encoder: Encoder[Any], made: Made) -> None:
        self._encoder, self.made = encoder, made

    @property
    def name(self) -> str:
        """What a user reads."""
        return f"torch, bf16 weights, cosine to fp32 at least {self.made.cosine:.5f}"

    @cached_property
    def _forward(self) -> Callable[[Any], NDArray[np.float32]]:
        from diptych.backbones.export import in_bf16

        return in_bf16(self._encoder)

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs."""
        return self._forward(x)


class Engines:
    """Chooses what runs an encoder, for the CPU; a ``core.run.Engine``.

    Args:
        folder: of exports; made if absent.
        kind: "auto" takes ONNX Runtime where it keeps the bound, "onnx" insists on it, "torch" leaves it out.
        report: called once for each encoder with a line on what runs it and why.

    Raises:
        UsageError: an unknown kind.
    """

    def __init__(self, folder: Path, kind: str = "auto", report: Callable[[str], None] = lambda line: None) -> None:
        if kind not in KINDS:
            raise UsageError(f"The engine {kind!r} is unknown: use {', '.join(KINDS)}.")
        self.folder, self.kind, self._report = folder, kind, report
        self._chosen: dict[tuple[str, str], Runner | None] = {}
        self._served: set[str] | None = None

    def serve(self, *encoders: Encoder[Any]) -> None:
        """Run these encoders only: those that a run trains or composes are new every time, and an export of them would only lie about."""
        self._served = {encoder.fingerprint for encoder in encoders} | (self._served or set())

    def runner(self, encoder: Encoder[Any], run: Run, /) -> Runner | None:
        """Return what runs an encoder at the run's precision; None: torch itself.

        Raises:
            UsageError: kind "onnx", and the encoder cannot run there.
        """
        if run.device != "cpu" or (self.kind == "torch" and run.precision == "fp32"):
            return None
        if self._served is not None and encoder.fingerprint not in self._served:
            return None
        which = (encoder.fingerprint, run.precision)
        if which not in self._chosen:
            self._chosen[which] = self._choose(encoder, run.precision)
        return self._chosen[which]

    def _choose(self, encoder: Encoder[Any], precision: str) -> Runner | None:
        reasons = []
        if precision == "bf16" and self.kind != "onnx":
            made = self._made(encoder, "torch", "bf16")
            if made.supported:
                return self._told(encoder, Bf16Runner(encoder, made))
            reasons.append(f"bf16 weights are not used ({made.reason})")
        if self.kind != "torch":
            made = self._made(encoder, "onnxruntime", "fp32")
            if made.supported:
                return self._told(encoder, OnnxRunner(made), reasons)
            reasons.append(f"onnxruntime is not used ({made.reason})")
            if self.kind == "onnx":
                raise UsageError(f"The {encoder.modality} encoder cannot run in ONNX Runtime ({made.reason}): use --engine auto or torch.")
        return self._told(encoder, TorchRunner(encoder), reasons) if precision == "bf16" else self._told(encoder, None, reasons)

    def _told(self, encoder: Encoder[Any], runner: Runner | None, reasons: list[str] | None = None) -> Runner | None:
        self._report("; ".join([f"{encoder.modality} encoder: {'torch, fp32' if runner is None else runner.name}", *(reasons or [])]))
        return runner

    def _made(self, encoder: Encoder[Any], runtime: str, precision: str) -> Made:
        version = onnxruntime_version() if runtime == "onnxruntime" else torch_version()
        place = self.folder / f"{encoder.fingerprint}-{runtime}-{version.replace('+', '_')}-{precision}"
        found = read_made(place)
        if found is None:
            from diptych.backbones.export import make

            self._report(f"{encoder.modality} encoder: preparing {runtime} {precision}, once for this machine")
            found = make(encoder, place, runtime, precision)
        return found


class TorchRunner:
    """The encoder in torch, float32: where reduced precision was asked for and does not keep its bound.

    Args:
        encoder: float32.
    """

    precision, name = "fp32", "torch, fp32"
    facts: Mapping[str, str] = {}

    def __init__(self, encoder: Encoder[Any]) -> None:
        self._encoder = encoder

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs."""
        from diptych.backbones.export import rows

        return rows(self._encoder, x)


def kind_of(engine: str) -> Kind:
    """Return the kind that gives the vectors of an engine again, by the name that results hold."""
    kinds: dict[str, Kind] = {"torch": "torch", "onnxruntime": "onnx"}
    return kinds.get(engine, "auto")


def onnxruntime_version() -> str:
    """Return the version of ONNX Runtime, without importing it."""
    from importlib.metadata import version

    return version("onnxruntime")


def torch_version() -> str:
    """Return the version of torch, without importing it."""
    from importlib.metadata import version

    return version("torch")
