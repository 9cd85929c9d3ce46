from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.metrics.estimate import checked_level


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    with pytest.raises(UsageError, match=f"level must be in \\(0, 1\\), got {level}"):
        checked_level(level)


def test_a_level_is_returned_as_it_is() -> None:
    assert checked_level(0.95) == 0.95
