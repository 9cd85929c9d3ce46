from __future__ import annotations

import pytest
from tests.support.backbone import SmallBackbone

from diptych.core.kit import Kit
from diptych.core.run import Run


@pytest.fixture
def kit() -> Kit:
    return Kit({"main": SmallBackbone()})


@pytest.fixture
def run() -> Run:
    return Run(seed=3)
