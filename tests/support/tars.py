"""Tars as the webdataset library reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import webdataset


def by_webdataset(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What the library groups out of tars; opened here, since it leaves files open."""
    items: list[dict[str, Any]] = []
    for path in paths:
        with open(path, "rb") as file:
            items += webdataset.tariterators.group_by_keys(
                webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": file}])
            )
    return items
