"""What every extender promises its user, multiplied over the catalog."""

from __future__ import annotations

import pytest

from diptych.testing.contract import Check
from tests.support.contract import promises


@pytest.mark.parametrize("check", promises("extend"))
def test_extenders(check: Check) -> None:
    check()
