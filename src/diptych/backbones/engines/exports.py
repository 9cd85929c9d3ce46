"""Listing and deletion of exports, with size and last use. A later run exports them again."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diptych.backbones.engines.runners import plain_version
from diptych.backbones.engines.runtimes.onnx import onnxruntime_version
from diptych.backbones.engines.runtimes.openvino import openvino_version
from diptych.backbones.engines.runtimes.report import EXPORTER, FACTS, FILES, torch_version

_NAME = re.compile(
    r"(?P<encoder>[0-9a-f]{16})-(?P<what>(?P<library>graph-torch|onnxruntime|openvino|torch)-(?P<version>[^/-]+)[^/]*)"
)


@dataclass(frozen=True)
class Export:
    """One folder of the engines.

    Args:
        encoder: fingerprint.
        what: "graph-torch-VERSION", or runtime, version, precision and processor; "(unfinished)" of a draft.
        bytes: size of its files.
        used: time of last use, seconds since 1970.
        outdated: why this installation will not use it: it is of another version; "" where it may.
    """

    name: str
    encoder: str
    what: str
    bytes: int
    used: float
    outdated: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        used = datetime.fromtimestamp(self.used, UTC).isoformat(timespec="seconds")
        facts = {"export": self.name, "encoder": self.encoder, "what": self.what, "bytes": self.bytes, "used": used}
        return {**facts, "outdated": self.outdated}


def list_exports(folder: Path) -> list[Export]:
    """Return the exports in a folder, the least recently used first, with the drafts of killed processes."""
    exports = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name.removeprefix("."))
        if match is None or path.is_symlink() or not path.is_dir():
            continue
        states = [file.stat() for name in FILES if (file := path / name).is_file()]
        used = max([path.stat().st_mtime, *(s.st_mtime for s in states)])
        what = f"{match['what'].rsplit('.', 2)[0]} (unfinished)" if path.name.startswith(".") else match["what"]
        size, why = sum(s.st_size for s in states), _outdated(path, match["library"], match["version"])
        exports.append(Export(path.name, match["encoder"], what, size, used, why))
    return sorted(exports, key=lambda e: (e.used, e.name))


def _outdated(path: Path, library: str, version: str) -> str:
    installed = {"onnxruntime": onnxruntime_version, "openvino": openvino_version}.get(library, torch_version)()
    if path.name.startswith("."):
        return "unfinished"
    if version != plain_version(installed):
        return f"of {library.removeprefix('graph-')} {version}; installed: {plain_version(installed) or 'none'}"
    try:
        exporter = json.loads((path / FACTS).read_bytes())["versions"].get("exporter")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "damaged"
    return "" if exporter == EXPORTER else "of an earlier diptych"


def remove_exports(folder: Path, exports: Collection[Export], *, idle: float = 600.0) -> list[Export]:
    """Delete exports; other files stay.

    The report is deleted first, so that a partly deleted export is exported again.

    Args:
        folder: folder of the exports.
        exports: exports of ``list_exports``.
        idle: least seconds since the last use; more recently used exports stay.

    Returns:
        The exports that stayed.
    """
    recent = [e for e in exports if time.time() - e.used < idle]
    for export in exports:
        if export in recent:
            continue
        path = folder / export.name
        for name in (FACTS, *FILES):
            (path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it has other files
            path.rmdir()
    return recent
