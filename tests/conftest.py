from __future__ import annotations

import os
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed every generator by the test's name, before its fixtures: a test sees the same draws alone, in another order and in CI."""
    seed = zlib.crc32(item.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries under test draw from it
    torch.manual_seed(seed)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the development data sets."""
    folder = os.environ.get("DIPTYCH_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data sets: set DIPTYCH_DATA to their folder")
    return Path(folder)
