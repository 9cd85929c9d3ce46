from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all pages and notebooks, which read the same photos."""
    return tmp_path_factory.mktemp("cache")
