from __future__ import annotations

import pytest

from diptych.core.kit import Kit
from diptych.core.run import Run
from tests.support.backbone import SmallBackbone


@pytest.fixture
def kit() -> Kit:
    return Kit({"main": SmallBackbone()})


@pytest.fixture
def run() -> Run:
    return Run(seed=3)
