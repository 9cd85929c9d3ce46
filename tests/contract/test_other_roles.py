"""What every auditor, scorer of pairs, curator, captioner and rewriter promises, multiplied over the catalog."""

from __future__ import annotations

import pytest

from diptych.testing.contract import Check
from tests.support.contract import promises


@pytest.mark.filterwarnings("ignore:.* sources have the target's value already", "ignore:The margin is")
@pytest.mark.parametrize("check", promises("audit", "curate", "caption", "rewrite"))
def test_other_roles(check: Check) -> None:
    check()
