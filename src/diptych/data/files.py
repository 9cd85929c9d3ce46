"""Files that are written whole: readers see the old file or the new one, never a half."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.core.errors import DataError, UsageError


def plain(value: Any) -> Any:
    """Return ``value`` as JSON data: tuples become lists, NaN and infinities null, paths strings."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_bytes(path: Path, content: bytes, *, overwrite: bool = False) -> None:
    """Write a file in one step: readers see the old file or the whole new one.

    Raises:
        UsageError: the file exists and ``overwrite`` is False.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: give another --out or --overwrite.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any, *, overwrite: bool = False) -> None:
    """Write plain data as indented JSON, atomically; see ``write_bytes``."""
    write_bytes(path, (json.dumps(plain(data), indent=2, ensure_ascii=False) + "\n").encode(), overwrite=overwrite)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: the file is absent or holds no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a result ({type(error).__name__}): give a JSON file that diptych wrote."
        ) from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object: give a JSON file that diptych wrote.")
    return data
