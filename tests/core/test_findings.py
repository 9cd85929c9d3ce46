from __future__ import annotations

import json
import math
from typing import Any

import pytest

from diptych.core import Control, Example, Finding, UsageError


def test_a_finding_has_a_value_or_a_reason() -> None:
    finding = Finding("lite", "drop", 0.2, (0.1, math.inf), control=Control("drop_random_groups", 0.0, (-0.1, 0.1)))
    assert finding.testable
    data = json.loads(json.dumps(finding.as_dict(), allow_nan=False))
    assert data["interval"] == [0.1, None]
    assert data["control"] == {
        "measure": "drop_random_groups",
        "value": 0.0,
        "interval": [-0.1, 0.1],
        "expected": 0.0,
        "held": True,
    }
    verdict = Finding.not_testable("lite", "drop", "Accuracy is at chance, 0.25 of 0.25.", count=60)
    assert (verdict.testable, verdict.value, verdict.count) == (False, None, 60)
    assert verdict.as_dict()["reason"] == "Accuracy is at chance, 0.25 of 0.25."


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"value": None}, "must have a value, or a reason"),
        ({"reason": "no"}, "must have a value, or a reason"),
        ({"value": 1.2}, r"must be in \[-1, 1\], got 1.2"),
        ({"value": float("nan")}, r"must be in \[-1, 1\], got nan"),
        ({"interval": (0.3, 0.1)}, r"must be \(low, high\), got \(0.3, 0.1\)"),
        ({"examples": (Example("test", "0"),) * 4}, "at most 3 examples, got 4"),
        ({"harm": 1.5}, r"harm of .* must be in \[0, 1\], got 1.5"),
    ],
)
def test_what_is_no_finding_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Finding(**{"subject": "lite", "measure": "drop", "value": 0.2, **settings})


def test_a_control_holds_where_its_interval_has_the_expected_value() -> None:
    assert Control("ratio", 1.1, (0.9, 1.3), expected=1.0).held
    assert not Control("ratio", 1.1, (1.05, 1.3), expected=1.0).held
    assert not Control("gain", -0.5, (-0.6, -0.4)).held
    assert Control("gain", -0.5, (-0.6, -0.4), above=True).held
    assert not Control("gain", 0.5, (0.4, 0.6), above=True).held
