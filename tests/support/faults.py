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
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
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
            if not any(path.absolute().is_relative_to(folder.absolute()) for folder in self.below):
                return real(first, *rest)
            self.count += 1
            self.seen.append(f"{name} {path.name}")
            return self._count(name, path, real, first, *rest)

        return operation

    def _count(self, name: str, path: Path, real: Callable[..., Any], first: Any, *rest: Any) -> Any:
        """Do an operation, or stop at it."""
        if self.count == self.at:
            self._tear(name, path, real, first, *rest)
        return real(first, *rest)

    def _discarding(self, real: Callable[[Path], None]) -> Callable[[Path], None]:
        return lambda draft: None if self.over else real(draft)

    def _tear(self, name: str, path: Path, real: Callable[..., Any], first: Any, *rest: Any) -> None:
        """Leave half of what was to be written, and stop."""
        if name == "_fill":
            real(first, *rest)
        if name in ("_fill", "_sync") and _is_torn(path):
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


class Snapshots(Faults):
    """Copies what a process that is killed at each operation would leave, and lets the run go on: one run for all.

    Args:
        monkeypatch: takes the harness out again.
        folder: operations on paths below it count; it is copied, with the drafts beside it.
        into: folder of the copies, one a state, numbered from 0.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, into: Path) -> None:
        super().__init__(monkeypatch, 0, "kill", folder)
        self.folder, self.into = folder, into
        self.stacks: list[tuple[str, ...]] = []

    def _count(self, name: str, path: Path, real: Callable[..., Any], first: Any, *rest: Any) -> Any:
        """Do an operation, and copy what half of it leaves."""
        self.stacks.append((name, *_stack()))
        state = self.into / str(self.count - 1)
        if name == "_add":
            half = len(rest[0]) // 2
            first.write(rest[0][:half])
            first.flush()
            self._copy(state)
            return first.write(rest[0][half:])
        written = real(first, *rest) if name == "_fill" else None
        whole = path.read_bytes() if name in ("_fill", "_sync") and _is_torn(path) else None
        if whole is not None:
            os.truncate(path, len(whole) // 2)
        self._copy(state)
        if whole is not None:
            path.write_bytes(whole)
        return written if name == "_fill" else real(first, *rest)

    def _copy(self, state: Path) -> None:
        state.mkdir(parents=True)
        for path in (self.folder, *self.folder.parent.glob(f".{self.folder.name}*")):
            if path.is_dir():
                shutil.copytree(path, state / path.name)
            elif path.exists():
                shutil.copy2(path, state)


def _is_torn(path: Path) -> bool:
    """Return whether a file is a draft that a stop can leave half written; a second link is the file itself."""
    return path.is_file() and path.name.endswith(".tmp") and path.stat().st_nlink == 1


def _stack() -> Iterator[str]:
    """Yield the lines of diptych that lead here."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("diptych."):
            yield f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back


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
