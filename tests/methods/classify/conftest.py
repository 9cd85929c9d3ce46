from __future__ import annotations

import pytest

from diptych.core import Kit, Run
from tests.support.backbone import SmallBackbone


@pytest.fixture
def kit() -> Kit:
    return Kit({"main": SmallBackbone()})


@pytest.fixture
def run() -> Run:
    return Run(seed=3)
