"""The report on an encoder on a runtime, stored beside the graph and read without torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diptych.core import UnreadableItem
from diptych.core.entry_points import installed_version
from diptych.data.keys import hash_file

FACTS, GRAPH, IR = "facts.json", "model.onnx", "model.xml"
FILES = (FACTS, GRAPH, IR, "model.bin")
"""All files that a folder may have."""
EXPORTER = "2"
"""Number of the way in which graphs are written. It rises with a change that makes graphs better, and earlier ones are
then written anew: "2" computes the last block of a vision transformer for the pooled token alone."""


@dataclass(frozen=True)
class RuntimeReport:
    """Report on one encoder on one runtime in one precision, or on the graph that several runtimes read.

    Args:
        supported: whether the runtime may be used.
        reason: why it may not; "" where it may.
        cosine: least cosine to torch's float32 vectors, together and alone, or for int8 the mean; NaN before a run.
        speed: torch's float32 seconds over its seconds, on this machine; NaN before the timing.
        small_photos: the same ratio with the seconds that decode and resize small photos in both; NaN for texts and
            before the timing.
        graph: folder of the graph, beside ``folder``; "" without a graph, or where it is in ``folder``.
        sha256: hash of the graph; "" without one.
        stamp: sizes and dates (ns) of the graph's files when it was hashed.
    """

    folder: Path
    supported: bool
    reason: str = ""
    cosine: float = float("nan")
    speed: float = float("nan")
    inputs: tuple[str, ...] = ()
    graph: str = ""
    sha256: str = ""
    stamp: tuple[int, ...] = ()
    file: str = GRAPH
    versions: Mapping[str, str] | None = None
    small_photos: float = float("nan")

    @property
    def settled(self) -> bool:
        """Whether the report has all values that a choice needs."""
        return not self.supported or not math.isnan(self.speed)

    @property
    def path(self) -> Path:
        """The graph's file."""
        return (self.folder.parent / self.graph if self.graph else self.folder) / self.file


def read_report(folder: Path) -> RuntimeReport | None:
    """Return the report of a folder; None where there is none, or it or its graph is damaged.

    A graph of the same size and date is not hashed again, to save time at start. A negative report is valid only for
    its version of onnx, so that a package that was absent or broken is tried again. The report of an earlier
    ``EXPORTER`` is none.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        report = RuntimeReport(
            folder, bool(facts["supported"]), str(facts["reason"]), _number(facts["cosine"]), _number(facts["speed"]),
            tuple(facts["inputs"]), str(facts["graph"]), str(facts["sha256"]), tuple(facts["stamp"]),
            str(facts["file"]),
            dict(facts["versions"]), _number(facts.get("small_photos")),
        )  # fmt: skip
        versions = report.versions or {}
        refused_by_another = not report.supported and versions.get("onnx") != onnx_version()
        if refused_by_another or versions.get("exporter") != EXPORTER:
            return None
        if not report.sha256 or stamp_of(report.path) == report.stamp or hash_graph(report.path) == report.sha256:
            for used in {folder, report.path.parent}:
                with contextlib.suppress(OSError):  # a read-only cache
                    os.utime(used)
            return report
    except (OSError, ValueError, KeyError, TypeError, UnreadableItem):
        pass
    return None


onnx_version = partial(installed_version, "onnx")
"""Version of the package that writes graphs; "" without it."""
torch_version = partial(installed_version, "torch")


def hash_graph(path: Path) -> str:
    """Return the hash of a graph and of its separate file of weights, if there is one."""
    parts = [hash_file(file) for file in _files(path)]
    return parts[0] if len(parts) == 1 else hashlib.sha256("/".join(parts).encode()).hexdigest()


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return sizes and dates of a graph's files."""
    states = [file.stat() for file in _files(path)]
    return tuple(n for state in states for n in (state.st_size, state.st_mtime_ns))


def _files(path: Path) -> list[Path]:
    return [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
