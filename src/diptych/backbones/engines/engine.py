"""Choice of the runtime of an encoder on the CPU: the fastest whose vectors keep their bound.

Torch is imported only for an export.

    folder/<fingerprint>-graph-torch-<version>/model.onnx                              the encoder as a graph, for every
                                                                                       runtime
           <fingerprint>-<runtime>-<version>-<precision>-<processor>/facts.json        what was measured here, or why it
                                                                                       is not used

A folder is written under another name and renamed. One process at a time exports and times, by the lock ``race.lock``,
and the others take what it wrote; where no lock can be taken, the first that writes counts.
A runtime is used only where its vectors keep the bound to torch's float32 vectors on fixed pictures or sentences, each
alone and all together. Of these, the fastest in a measurement at export runs. Otherwise torch runs, and the reason is
reported. A run of few items does not repay the measurement: the first of ``CANDIDATES`` runs them, if it keeps the
bound, whatever longer runs measured, so that its answers do not change with them.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diptych.backbones.engines.runners import opened, plain_version
from diptych.backbones.engines.runtimes.onnx import onnxruntime_version
from diptych.backbones.engines.runtimes.openvino import openvino_version
from diptych.backbones.engines.runtimes.report import RuntimeReport, read_report, torch_version
from diptych.backbones.engines.runtimes.torch_weights import TorchRunner
from diptych.core import Encoder, MissingExtra, Runner, UsageError
from diptych.data.files import locked

if TYPE_CHECKING:
    from diptych.core import Run

__all__ = ["Engines", "Kind", "kind_of"]

Kind = Literal["auto", "torch", "onnx", "openvino"]
KINDS: tuple[Kind, ...] = ("auto", "torch", "onnx", "openvino")
CANDIDATES = {
    "fp32": (("onnxruntime", "fp32"), ("openvino", "fp32")),
    "bf16": (("openvino", "bf16"), ("torch", "bf16")),
    "int8": (("openvino", "int8"),),
}
LOWER = {"int8": "bf16", "bf16": "fp32"}
"""Precision -> the next one to use where it does not keep its bound, or is not faster."""
RUNTIME_OF = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
LOCK = "race.lock"
Tried = tuple[RuntimeReport, str, str]
"""The report of a candidate, its runtime and its precision."""
CLEARLY = 1.05
"""A runtime must be so much faster to be taken before one that is named earlier: near ties do not fall by chance."""


class Engines:
    """Chooses the runner of an encoder on the CPU; a ``core.run.Engine``.

    Args:
        folder: folder of exports, created if absent.
        kind: "auto" takes the fastest runtime that keeps the bound; "onnx", "openvino" and "torch" require one.
        report: called once for each encoder with a line on its runner and the reason.
        remark: called with what a user should see in any case: that runtimes are prepared, which takes a while, and the
            line of an encoder that runs in another precision than the requested one; None (default): ``report``.
        few: the run encodes few items.

    Raises:
        UsageError: an unknown kind.
        MissingExtra: OpenVINO is required and not installed.
    """

    def __init__(
        self,
        folder: Path,
        kind: str = "auto",
        report: Callable[[str], None] = lambda line: None,
        remark: Callable[[str], None] | None = None,
        few: bool = False,
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"The engine {kind!r} is unknown: use {', '.join(KINDS)}.")
        if kind == "openvino" and not openvino_version():
            raise MissingExtra("openvino", "openvino", "The engine openvino")
        self.folder, self.kind, self._report, self._few = folder, kind, report, few
        self._remark = report if remark is None else remark
        self._chosen: dict[tuple[str, str], Runner | None] = {}
        self._served: set[str] | None = None
        self._announced: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process has: it reports nothing, and opens its runners itself."""
        quiet = {"_report": _nothing, "_remark": _nothing}
        return {**self.__dict__, **quiet, "_chosen": {}}

    def serve(self, *encoders: Encoder[Any]) -> None:
        """Limit this engine to these encoders.

        Encoders that a run trains or composes are new every time, so their exports would not be used again.
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
                f"int8 runs in OpenVINO: use {{engine}} auto or openvino, or {{precision}} fast, instead of {{engine}} "
                f"{self.kind}."
            )
        if run.precision == "int8" and not openvino_version():
            raise MissingExtra("openvino", "openvino", "int8")
        which = (encoder.fingerprint, run.precision)
        if which not in self._chosen:
            self._chosen[which] = self._choose(encoder, run)
        return self._chosen[which]

    def decided(self, encoder: Encoder[Any], run: Run) -> bool:
        """Return whether all files that ``runner`` needs exist; otherwise it needs the encoder's weights too."""
        precisions = self._precisions(encoder, run.precision)
        return run.device == "cpu" and all(self._known(encoder, p, run) is not None for p in precisions)

    def torchless(self, encoder: Encoder[Any], run: Run) -> bool:
        """Say whether an encoder runs here without torch and without its weights being loaded."""
        if not self.decided(encoder, run):
            return False
        runner = self.runner(encoder, run)
        return runner is not None and not runner.needs_torch

    def _precisions(self, encoder: Encoder[Any], requested: str) -> Iterable[str]:
        """Yield the precisions to try, the requested one first.

        Text encoders are not quantised, since an error in a class head affects every image.
        """
        precision = LOWER["int8"] if requested == "int8" and encoder.size is None else requested
        while precision:
            yield precision
            precision = LOWER.get(precision, "")

    def _candidates(self, precision: str) -> list[tuple[str, str]]:
        installed = {"onnxruntime", "torch", *(["openvino"] if openvino_version() else [])}
        allowed = installed if self.kind == "auto" else {RUNTIME_OF[self.kind]}
        return [c for c in CANDIDATES[precision] if c[0] in allowed]

    def _choose(self, encoder: Encoder[Any], run: Run) -> Runner | None:
        requested = run.precision
        refused: dict[str, list[str]] = {}
        best: Tried | None = None
        for precision in self._precisions(encoder, requested):
            for report, runtime, tried in self._reports(encoder, precision, run):
                if not report.supported:
                    refused.setdefault(report.reason, []).append(f"{runtime} {tried}")
                elif best is None or report.speed > CLEARLY * best[0].speed:
                    best = (report, runtime, tried)
        reasons = [f"not {', '.join(names)} ({reason})" for reason, names in refused.items()]
        insisted = self.kind in ("onnx", "openvino")
        if insisted and best is None:
            raise UsageError(
                f"The {encoder.modality} encoder cannot run with {{engine}} {self.kind} ({'; '.join(reasons)}): use "
                f"{{engine}} auto or torch."
            )
        runner: Runner | None = TorchRunner(encoder) if requested != "fp32" else None
        description, taken = "torch, fp32", "fp32"
        if best and (insisted or self._hurried(run, *best) or best[0].speed > 1):
            runner, taken = opened(encoder, *best), best[2]
            which = "mean" if best[2] == "int8" else "least"
            whole = best[0].small_photos
            photos = "" if math.isnan(whole) else f", {whole:.1f} x with the decoding of small photos"
            speed = (
                f"{best[0].speed:.1f} x torch's fp32 when it was made{photos}" if best[0].settled else "not timed yet"
            )
            description = f"{runner.name}, {speed}, {which} cosine to torch's fp32 {best[0].cosine:.6f}"
        elif best:
            reasons.append(f"{best[1]} {best[2]} would be slower ({best[0].speed:.1f} x)")
        tell = self._report if taken == next(iter(self._precisions(encoder, requested))) else self._remark
        tell("; ".join([f"{encoder.modality} encoder: {description}", *reasons]))
        return runner

    def _folder(self, encoder: Encoder[Any], runtime: str, precision: str) -> Path:
        version = {"onnxruntime": onnxruntime_version, "openvino": openvino_version, "torch": torch_version}[runtime]()
        return self.folder / f"{encoder.fingerprint}-{runtime}-{plain_version(version)}-{precision}-{processor()}"

    def _known(self, encoder: Encoder[Any], precision: str, run: Run) -> list[Tried] | None:
        """Return the reports of the candidates of one precision; None where a choice needs some that are missing."""
        known = list[Tried]()
        for name, at in self._candidates(precision):
            report = read_report(self._folder(encoder, name, at))
            if report is not None and self._hurried(run, report, name, at):
                return [(report, name, at)]
            if report is None or not report.settled:
                return None
            known.append((report, name, at))
        return known

    def _hurried(self, run: Run, report: RuntimeReport, *candidate: str) -> bool:
        """Return whether a candidate runs untimed; one of a lower precision may be slower than torch."""
        return self._few and run.precision == "fp32" and report.supported and candidate == self._candidates("fp32")[0]

    def _reports(self, encoder: Encoder[Any], precision: str, run: Run) -> list[Tried]:
        """Return the reports of the candidates of one precision; missing ones are exported, and timed in one race."""
        known = self._known(encoder, precision, run)
        if known is not None:
            return known
        hurried = self._few and run.precision == "fp32"
        if encoder.fingerprint not in self._announced:
            self._announced.add(encoder.fingerprint)
            what = "a runtime" if hurried else "and timing runtimes"
            self._remark(f"{encoder.modality} encoder: preparing {what}, once for this machine")
        with _one_at_a_time(self.folder):
            candidates = [(self._folder(encoder, *c), *c) for c in self._candidates(precision)]
            first = _prepared(encoder, candidates[:1], run, timed=False) if hurried else []
            return first if first and first[0][0].supported else _prepared(encoder, candidates, run)


def _prepared(
    encoder: Encoder[Any], candidates: Sequence[tuple[Path, str, str]], run: Run, *, timed: bool = True
) -> list[Tried]:
    """Return the report of each candidate, from its folder where another process has put it there."""
    from diptych.backbones.engines.export import make, race
    from diptych.backbones.engines.parity import MOST, Reference

    tried, reference = list[Tried](), Reference(encoder)
    what, steps = ("time runtimes", MOST) if timed else ("prepare a runtime", 0)
    with run.track(f"{what} of the {encoder.modality} encoder", len(candidates) + steps) as bar:
        for folder, name, precision in candidates:
            tried.append((read_report(folder) or make(reference, folder, name, precision), name, precision))
            bar.advance()
        if not timed:
            return tried
        reports = race(encoder, tried, bar.advance)
        return [(report, name, precision) for report, (_, name, precision) in zip(reports, tried, strict=True)]


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process of this machine export and time at a time: two that race measure each other, and do all twice.

    Where no lock can be taken, as in a folder that is read-only, nobody waits.
    """
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / LOCK))
        yield


def _nothing(line: str) -> None:
    """Report nothing."""


def kind_of(engine: str) -> Kind:
    """Return the kind that reproduces the vectors of an engine, by its name in results."""
    kinds: dict[str, Kind] = {"torch": "torch", "onnxruntime": "onnx", "openvino": "openvino"}
    return kinds.get(engine, "auto")


@cache
def processor() -> str:
    """Return a short hash of the processor, since the fastest runtime differs between processors."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model += "".join(
            next((line for line in lines if line.startswith(what)), "") for what in ("model name", "flags")
        )
    except OSError:  # no Linux
        pass
    return hashlib.sha256(f"{platform.machine()}/{model}".encode()).hexdigest()[:8]
