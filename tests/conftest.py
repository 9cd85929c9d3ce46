from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the development data sets."""
    folder = os.environ.get("DIPTYCH_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data sets: set DIPTYCH_DATA to their folder")
    return Path(folder)
