"""Makes the n-th operation of ``diptych.data.files`` fail: a disk that is full, Ctrl-C, or a process that is killed.

Everything that diptych writes goes through that module, so a test that lets every n fail sees every state in which a
verb can be stopped.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors import safe_open

from diptych.data import files

Kind = Literal["full", "interrupt", "kill"]
OPERATIONS = ("_draft", "_fill", "_add", "_sync", "move")
"""Start of a draft, write, append, fsync, rename."""


_BESIDE = re.compile(r"(\.tmp|-wal|-shm|/lock)$|/tensorboard/")


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it, and nothing that is written or removed after it reaches the disk."""


class Faults:
    """Counts operations, and stops at one.

    Args:
        monkeypatch: takes the harness out again.
        at: number of the operation that fails, from 1; 0: none does.
        kind: how.
        below: only operations on paths below these folders count.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, kind: Kind, *below: Path) -> None:
        self.count, self.at, self.kind, self.below, self.over = 0, at, kind, below, False
        self.seen: list[str] = []
        for name in OPERATIONS:
            monkeypatch.setattr(files, name, self._failing(name, getattr(files, name)))
        monkeypatch.setattr(files, "_discard", self._discarding(files._discard))

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(first: Any, *rest: Any) -> Any:
            if self.over:
                raise Killed
            path = Path(getattr(first, "name", first)) if name == "_add" else Path(first)
            if any(path.absolute().is_relative_to(folder.absolute()) for folder in self.below):
                self.count += 1
                self.seen.append(f"{name} {path.name}")
                if self.count == self.at:
                    self._tear(name, path, real, first, *rest)
            return real(first, *rest)

        return operation

    def _discarding(self, real: Callable[[Path], None]) -> Callable[[Path], None]:
        return lambda draft: None if self.over else real(draft)

    def _tear(self, name: str, path: Path, real: Callable[..., Any], first: Any, *rest: Any) -> None:
        """Leave half of what was to be written, and stop."""
        if name == "_fill":
            real(first, *rest)
        own = path.is_file() and path.name.endswith(".tmp") and path.stat().st_nlink == 1  # a link is the file itself
        if name in ("_fill", "_sync") and own:
            os.truncate(path, path.stat().st_size // 2)
        if name == "_add":
            first.write(rest[0][: len(rest[0]) // 2])
            first.flush()
        if self.kind == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if self.kind == "interrupt":
            raise KeyboardInterrupt
        self.over = True
        raise Killed


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file below a folder, but drafts, locks and what TensorBoard writes."""
    found = sorted(folder.rglob("*")) if folder.is_dir() else [folder] if folder.exists() else []
    named = {p.relative_to(folder.parent).as_posix(): p for p in found if p.is_file()}
    return {name: p.read_bytes() for name, p in named.items() if not _BESIDE.search(name)}


def drafts(folder: Path) -> list[str]:
    """Names of the drafts beside and below a folder."""
    return sorted(p.name for p in folder.parent.rglob(".*") if p.name.endswith((".tmp", ".diptych-old")))


def whole(name: str, content: bytes) -> bool:
    """Whether the bytes of a file are all there: it is opened as what its name says."""
    try:
        match Path(name).suffix:
            case ".json":
                json.loads(content)
            case ".jsonl":
                assert all(json.loads(line) for line in content.decode().split("\n")[:-1])
            case ".csv":
                rows = list(csv.reader(io.StringIO(content.decode())))
                assert content.endswith(b"\n")
                assert len({len(row) for row in rows}) == 1
            case ".html":
                assert content.rstrip().endswith(b">")
            case ".png":
                Image.open(io.BytesIO(content)).load()
            case ".npy":
                np.load(io.BytesIO(content))
            case ".npz":
                assert [np.load(io.BytesIO(content))[k] for k in np.load(io.BytesIO(content)).files]
            case ".parquet":
                pq.read_table(io.BytesIO(content))
    except Exception:
        return False
    return True


def check_tensors(path: Path) -> None:
    """Read every tensor of a safetensors file."""
    with safe_open(path, "pt") as held:
        for name in held.keys():  # noqa: SIM118
            held.get_tensor(name)


def check_database(path: Path) -> None:
    """Let SQLite look at a database."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
