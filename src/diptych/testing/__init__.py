"""Tests for systems: whether a class keeps the promises that every system of its role keeps.

    from diptych.testing import check_system
    check_system(MySystem)

With pytest, each promise is a test of its own:

    from diptych.testing import checks
    @pytest.mark.parametrize("check", [pytest.param(c, id=name) for name, c in checks(MySystem)])
    def test_promises(check): check()

Everything runs on generated data and small random models, in seconds and offline. pytest is not needed.
"""

from __future__ import annotations

from diptych.testing.contract import check_system as check_system
from diptych.testing.contract import checks as checks
from diptych.testing.promise import ContractBroken as ContractBroken

__all__ = ["ContractBroken", "check_system", "checks"]
