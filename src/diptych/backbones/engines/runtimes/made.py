"""What is known of an encoder on a runtime: facts beside the graph, read without torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from diptych.core.errors import UnreadableItem
from diptych.data.keys import hash_file

FACTS, GRAPH, IR = "facts.json", "model.onnx", "model.xml"
FILES = (FACTS, GRAPH, IR, "model.bin")
"""All that a folder may hold."""


@dataclass(frozen=True)
class Made:
    """One encoder on one runtime in one precision, or the graph that several of them read.

    Args:
        folder: where the facts lie.
        supported: whether it may be used.
        reason: why not; "" where it may.
        cosine: least cosine to torch's float32 vectors, together and alone, of int8 the mean; NaN where nothing ran.
        speed: torch's float32 seconds over its seconds, on this machine; NaN until it was timed.
        small_photos: the same with the seconds that decode and resize small photos in both; NaN for texts and until it
            was timed.
        inputs: names of the graph's inputs.
        graph: the graph's folder, beside ``folder``; "" without a graph, or where it lies in ``folder``.
        sha256: of the graph; "" without one.
        stamp: sizes and dates (ns) of its files when it was hashed.
        file: the graph's name.
        versions: of the libraries that made it.
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
        """Whether all is known that a choice needs."""
        return not self.supported or not math.isnan(self.speed)

    @property
    def path(self) -> Path:
        """The graph's file."""
        return (self.folder.parent / self.graph if self.graph else self.folder) / self.file


def read_made(folder: Path) -> Made | None:
    """Return what a folder says of itself; None where there is none, or it or its graph is damaged (and will be made
    anew).

    A graph whose size and date are still those of its hash is not hashed again: a cold start has no time for it.
    A refusal counts only for the version of onnx that it was seen with: a package that was absent or broken is tried
    again.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        made = Made(
            folder, bool(facts["supported"]), str(facts["reason"]), _number(facts["cosine"]), _number(facts["speed"]),
            tuple(facts["inputs"]), str(facts["graph"]), str(facts["sha256"]), tuple(facts["stamp"]),
            str(facts["file"]),
            dict(facts["versions"]), _number(facts.get("small_photos")),
        )  # fmt: skip
        if not made.supported and facts["versions"].get("onnx") != onnx_version():
            return None
        if not made.sha256 or stamp_of(made.path) == made.stamp or hash_graph(made.path) == made.sha256:
            for used in {folder, made.path.parent}:
                with contextlib.suppress(OSError):  # a cache that is only read
                    os.utime(used)
            return made
    except (OSError, ValueError, KeyError, TypeError, UnreadableItem):
        pass
    return None


@cache
def onnx_version() -> str:
    """Return the version of the package that writes graphs; "" without it."""
    try:
        return metadata.version("onnx")
    except metadata.PackageNotFoundError:
        return ""


def hash_graph(path: Path) -> str:
    """Return the hash of a graph, with its weights where they lie in a file of their own."""
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


def torch_version() -> str:
    """Return the version of torch, without importing it."""
    from importlib.metadata import version

    return version("torch")
