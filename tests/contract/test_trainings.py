"""What every system that trains a space promises its user, multiplied over the catalog."""

from __future__ import annotations

import pytest

from diptych.testing.contract import Check
from tests.support.contract import promises


@pytest.mark.parametrize("check", promises("pretrain", "finetune"))
def test_trainings(check: Check) -> None:
    check()
