from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from diptych.features import portable


def state_of(fitted: Any) -> str:
    """Return what a fitted object writes to disk, with the hash of its tensors: equal text, equal state."""
    with tempfile.TemporaryDirectory() as folder:
        portable.save(fitted, Path(folder) / "fitted")
        return (Path(folder) / "fitted" / "fitted.json").read_text(encoding="utf-8")
