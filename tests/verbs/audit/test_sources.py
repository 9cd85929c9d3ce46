from __future__ import annotations

import pytest

import diptych
from diptych.core import UsageError


def test_sources_are_groups_of_open_data_too() -> None:
    data = diptych.open_data("set", group="light", need="groups")
    with pytest.warns(UserWarning, match=r" is not testable\. ") as warned:
        found = diptych.audit.sources(data, sources=["dim", "bright"])
    assert {f.subject for f in found} == {"source=dim", "source=bright", "source=dim+bright"}
    assert [str(w.message) for w in warned] == list(found.remarks)
    assert all(" is not testable. " in line for line in found.remarks)
    assert found.data["seed"] == 0
    with pytest.raises(UsageError, match="A comparison of sources needs two, got 1"):
        diptych.audit.sources(data, sources="dim")
    with pytest.raises(UsageError, match="models must be at least 3, got 2"):
        diptych.audit.sources(data, settings={"models": 2})
