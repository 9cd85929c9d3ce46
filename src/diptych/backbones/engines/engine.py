"""What runs an encoder on the CPU in torch's stead: the fastest runtime that keeps its vectors. No torch until
something is exported.

    folder/<fingerprint>-graph-torch-<version>/model.onnx                              the encoder as a graph, for every
                                                                                       runtime
           <fingerprint>-<runtime>-<version>-<precision>-<processor>/facts.json        what was measured here, or why it
                                                                                       is not used

A folder appears whole (it is made aside and renamed), so processes that export the same encoder at once do not meet;
the first one counts. A runtime is used only where its vectors kept the bound beside torch's float32 forward on fixed
pictures or sentences, each alone and all together; of those that did, the one that was fastest when it was made runs,
now and later. Otherwise torch does, and the reason is told.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diptych.backbones.engines.runners import opened, plain_version
from diptych.backbones.engines.runtimes.made import Made, read_made, torch_version
from diptych.backbones.engines.runtimes.onnx import onnxruntime_version
from diptych.backbones.engines.runtimes.openvino import openvino_version
from diptych.backbones.engines.runtimes.torch_weights import TorchRunner
from diptych.core.backbone import Encoder
from diptych.core.errors import MissingExtra, UsageError
from diptych.core.run import Runner

if TYPE_CHECKING:
    from diptych.core.run import Run

__all__ = ["Engines", "Kind", "kind_of"]

Kind = Literal["auto", "torch", "onnx", "openvino"]
KINDS: tuple[Kind, ...] = ("auto", "torch", "onnx", "openvino")
CANDIDATES = {
    "fp32": (("onnxruntime", "fp32"), ("openvino", "fp32")),
    "bf16": (("openvino", "bf16"), ("torch", "bf16")),
    "int8": (("openvino", "int8"),),
}
LOWER = {"int8": "bf16", "bf16": "fp32"}
"""Where a precision does not keep its bound, or is not faster, the next one runs."""
RUNTIME_OF = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
CLEARLY = 1.05
"""A runtime must be so much faster to be taken before one that is named earlier: near ties do not fall by chance."""


class Engines:
    """Chooses what runs an encoder, for the CPU; a ``core.run.Engine``.

    Args:
        folder: of exports; made if absent.
        kind: "auto" takes the fastest runtime that keeps the bound; "onnx", "openvino" and "torch" insist on one.
        report: called once for each encoder with a line on what runs it and why.

    Raises:
        UsageError: an unknown kind.
        MissingExtra: OpenVINO is asked for and not installed.
    """

    def __init__(self, folder: Path, kind: str = "auto", report: Callable[[str], None] = lambda line: None) -> None:
        if kind not in KINDS:
            raise UsageError(f"The engine {kind!r} is unknown: use {', '.join(KINDS)}.")
        if kind == "openvino" and not openvino_version():
            raise MissingExtra("openvino", "openvino", "--engine openvino")
        self.folder, self.kind, self._report = folder, kind, report
        self._chosen: dict[tuple[str, str], Runner | None] = {}
        self._served: set[str] | None = None
        self._announced: set[str] = set()

    def serve(self, *encoders: Encoder[Any]) -> None:
        """Run these encoders only: those that a run trains or composes are new every time, and an export of them would
        only lie about.
        """
        self._served = {encoder.fingerprint for encoder in encoders} | (self._served or set())

    def runner(self, encoder: Encoder[Any], run: Run, /) -> Runner | None:
        """Return what runs an encoder at the run's precision; None: torch itself.

        Raises:
            UsageError: kind "onnx" or "openvino", and the encoder cannot run there; int8, and the kind is another than
                OpenVINO.
            MissingExtra: int8 without OpenVINO, or without NNCF when an encoder is quantised.
        """
        if run.device != "cpu" or (self.kind == "torch" and run.precision == "fp32"):
            return None
        if self._served is not None and encoder.fingerprint not in self._served:
            return TorchRunner(encoder) if run.precision == "int8" else None
        if run.precision == "int8" and self.kind in ("onnx", "torch"):
            raise UsageError(
                f"int8 runs in OpenVINO: use --engine auto or openvino, or --precision fast, instead of --engine "
                f"{self.kind}."
            )
        if run.precision == "int8" and not openvino_version():
            raise MissingExtra("openvino", "openvino", "int8")
        which = (encoder.fingerprint, run.precision)
        if which not in self._chosen:
            self._chosen[which] = self._choose(encoder, run.precision)
        return self._chosen[which]

    def decided(self, encoder: Encoder[Any], run: Run) -> bool:
        """Say whether all is on disk that ``runner`` needs; without it, the encoder's weights are needed too."""
        return run.device == "cpu" and all(
            (made := read_made(self._place(encoder, *c))) is not None and made.settled
            for p in self._precisions(encoder, run.precision)
            for c in self._candidates(p)
        )

    def torchless(self, encoder: Encoder[Any], run: Run) -> bool:
        """Say whether an encoder runs here without torch and without its weights being loaded."""
        if not self.decided(encoder, run):
            return False
        runner = self.runner(encoder, run)
        return runner is not None and not runner.needs_torch

    def _precisions(self, encoder: Encoder[Any], asked: str) -> Iterable[str]:
        """Yield the precisions that are tried, the asked one first. Texts are not quantised: a head's error would be
        every image's.
        """
        precision = LOWER["int8"] if asked == "int8" and encoder.size is None else asked
        while precision:
            yield precision
            precision = LOWER.get(precision, "")

    def _candidates(self, precision: str) -> list[tuple[str, str]]:
        installed = {"onnxruntime", "torch", *(["openvino"] if openvino_version() else [])}
        allowed = installed if self.kind == "auto" else {RUNTIME_OF[self.kind]}
        return [c for c in CANDIDATES[precision] if c[0] in allowed]

    def _choose(self, encoder: Encoder[Any], asked: str) -> Runner | None:
        refused: dict[str, list[str]] = {}
        best: tuple[Made, str, str] | None = None
        for precision in self._precisions(encoder, asked):
            for made, runtime, kept in self._made(encoder, self._candidates(precision)):
                if not made.supported:
                    refused.setdefault(made.reason, []).append(f"{runtime} {kept}")
                elif best is None or made.speed > CLEARLY * best[0].speed:
                    best = (made, runtime, kept)
        reasons = [f"not {', '.join(names)} ({reason})" for reason, names in refused.items()]
        insisted = self.kind in ("onnx", "openvino")
        if insisted and best is None:
            raise UsageError(
                f"The {encoder.modality} encoder cannot run with --engine {self.kind} ({'; '.join(reasons)}): use "
                f"--engine auto or torch."
            )
        runner: Runner | None = TorchRunner(encoder) if asked != "fp32" else None
        said = "torch, fp32"
        if best and (insisted or best[0].speed > 1):
            runner = opened(encoder, *best)
            which = "mean" if best[2] == "int8" else "least"
            whole = best[0].small_photos
            photos = "" if math.isnan(whole) else f", {whole:.1f} x with the decoding of small photos"
            said = (
                f"{runner.name}, {best[0].speed:.1f} x torch's fp32 when it was made{photos}, {which} cosine to it "
                f"{best[0].cosine:.6f}"
            )
        elif best:
            reasons.append(f"{best[1]} {best[2]} would be slower ({best[0].speed:.1f} x)")
        self._report("; ".join([f"{encoder.modality} encoder: {said}", *reasons]))
        return runner

    def _place(self, encoder: Encoder[Any], runtime: str, precision: str) -> Path:
        version = {"onnxruntime": onnxruntime_version, "openvino": openvino_version, "torch": torch_version}[runtime]()
        return self.folder / f"{encoder.fingerprint}-{runtime}-{plain_version(version)}-{precision}-{processor()}"

    def _made(self, encoder: Encoder[Any], candidates: Sequence[tuple[str, str]]) -> list[tuple[Made, str, str]]:
        """Return what is known of the candidates of one precision; what is not, is made and timed now, against each
        other.
        """
        places = [self._place(encoder, *c) for c in candidates]
        known = [read_made(place) for place in places]
        found = [made for made in known if made is not None and made.settled]
        if len(found) < len(candidates):
            from diptych.backbones.engines.export import make, race

            if encoder.fingerprint not in self._announced:
                self._announced.add(encoder.fingerprint)
                self._report(f"{encoder.modality} encoder: preparing and timing runtimes, once for this machine")
            found = [made or make(encoder, place, *c) for made, place, c in zip(known, places, candidates, strict=True)]
            found = race(encoder, [(made, *c) for made, c in zip(found, candidates, strict=True)])
        return [(made, *c) for made, c in zip(found, candidates, strict=True)]


def kind_of(engine: str) -> Kind:
    """Return the kind that gives the vectors of an engine again, by the name that results hold."""
    kinds: dict[str, Kind] = {"torch": "torch", "onnxruntime": "onnx", "openvino": "openvino"}
    return kinds.get(engine, "auto")


@cache
def processor() -> str:
    """Return a short hash of the processor: what is fastest on one need not be on another that shares the folder."""
    found = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found += "".join(
            next((line for line in lines if line.startswith(what)), "") for what in ("model name", "flags")
        )
    except OSError:  # no Linux
        pass
    return hashlib.sha256(f"{platform.machine()}/{found}".encode()).hexdigest()[:8]
