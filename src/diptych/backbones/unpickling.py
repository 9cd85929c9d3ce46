"""Torch files of others, read in a process of its own: without network, with bounded memory, and by ``weights_only``.

What the process leaves is read here: safetensors, which hold numbers alone, and JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.backbones import unpickling_child
from diptych.core import DataError, UsageError

SLACK = 512 * 2**20
"""Bytes that reading may take beside the tensors."""
COPIES = 3
"""Bytes of tensors per byte of the file: mapped, copied where they are no dense rows, and as they are written."""
LARGEST = 64 * 2**20
"""Bytes of plain values beside the tensors."""


def allowance(path: Path) -> int:
    """Return the bytes of memory that reading a file may take: a torch file is not compressed, so that its tensors are
    no larger than itself.

    Example:
        >>> allowance(Path(__file__)) < 513 * 2**20
        True
    """
    return COPIES * path.stat().st_size + SLACK


def run_child(path: Path, folder: Path, bound: int) -> int:
    """Run ``unpickling_child`` and return its exit code, which is negative where a signal ended it.

    Args:
        path: of the torch file.
        folder: an existing one, for what the process leaves.
        bound: bytes of memory that reading may take.
    """
    return subprocess.run(
        [
            sys.executable, "-I", unpickling_child.__file__, json.dumps([p for p in sys.path if p]),
            str(path.absolute()), str(folder), str(bound),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "CUDA_VISIBLE_DEVICES": ""},
    ).returncode  # fmt: skip


def read_apart(path: Path, more: str) -> Any:
    """Read what a torch file holds: tensors on the CPU, plain values, and names of types in the place of all else. The
    tensors lie in a temporary file, from which they are read when they are used.

    Args:
        path: of the file; it is treated as untrusted, and nothing in it is run.
        more: what a user shall do where the file holds more than tensors and plain values.

    Raises:
        UsageError: it holds more, which can run code.
        DataError: it is damaged, or claims tensors that are larger than itself.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    bound = allowance(path)
    with tempfile.TemporaryDirectory(prefix="diptych-weights-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        code = run_child(path, folder, bound)
        if code == unpickling_child.MORE:
            raise UsageError(f"{path} holds more than tensors, which can run code: {more}")
        if code == unpickling_child.MEMORY or code < 0:
            raise DataError(
                f"{path} has {path.stat().st_size:,} bytes and claims tensors that do not fit in {bound:,} bytes of "
                f"memory: it is damaged, or no weight file."
            )
        if code:
            raise DataError(f"{path} is no readable weight file: download it again.")
        try:
            rest = folder / unpickling_child.REST
            if rest.stat().st_size > LARGEST:
                raise DataError(f"{path} holds more than {LARGEST:,} bytes beside its tensors: it is no weight file.")
            tensors = load_file(folder / unpickling_child.TENSORS)
            return _unpacked(json.loads(rest.read_text(encoding="utf-8")), tensors)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise DataError(f"{path} is no readable weight file: download it again.") from error


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that ``unpickling_child.packed`` described."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}
    if kind in ("list", "tuple"):
        items = [_unpacked(v, tensors) for v in content]
        return items if kind == "list" else tuple(items)
    return content
