"""What is known of an encoder on a runtime: facts beside the graph, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.core.errors import UnreadableItem
from diptych.data.keys import hash_file

FACTS, GRAPH = "facts.json", "model.onnx"


@dataclass(frozen=True)
class Made:
    """One encoder on one runtime in one precision, or the graph that several of them read.

    Args:
        folder: where the facts lie.
        supported: whether it may be used.
        reason: why not; "" where it may.
        cosine: least cosine to torch's float32 vectors, together and alone; NaN where nothing ran.
        speed: torch's float32 seconds over its seconds, on this machine; NaN where nothing was timed.
        inputs: names of the graph's inputs.
        graph: the graph's folder, beside ``folder``; "" without a graph, or where it lies in ``folder``.
        sha256: of the graph; "" without one.
        stamp: size and date (ns) of the graph when it was hashed.
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
    versions: Mapping[str, str] | None = None

    @property
    def path(self) -> Path:
        """The graph's file."""
        return (self.folder.parent / self.graph if self.graph else self.folder) / GRAPH


def read_made(folder: Path) -> Made | None:
    """Return what a folder says of itself; None where there is none, or it or its graph is damaged (and will be made anew).

    A graph whose size and date are still those of its hash is not hashed again: a cold start has no time for it.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        made = Made(
            folder, bool(facts["supported"]), str(facts["reason"]), _number(facts["cosine"]), _number(facts["speed"]),
            tuple(facts["inputs"]), str(facts["graph"]), str(facts["sha256"]), tuple(facts["stamp"]), dict(facts["versions"]),
        )  # fmt: skip
        if not made.sha256 or stamp_of(made.path) == made.stamp or hash_file(made.path) == made.sha256:
            return made
    except (OSError, ValueError, KeyError, TypeError, UnreadableItem):
        pass
    return None


def stamp_of(path: Path) -> tuple[int, int]:
    """Return size and date of a file."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
