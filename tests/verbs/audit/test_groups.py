from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError


def test_the_drop_of_several_models_between_groups_of_a_file_or_open_data() -> None:
    found = diptych.audit.groups("set", group="light", against=["tiny"], out="groups.json")
    drop = next(f for f in found if f.measure == "drop" and not f.about)
    assert drop.value is not None
    assert drop.value > 0.5
    assert drop.control is not None
    assert found.data["reference"] == "lite"
    assert json.loads(Path("groups.json").read_text()).keys() == found.data.keys()
    table = found.to_pandas()
    assert set(table["subject"]) == {"lite", "tiny"}
    assert {"measure", "value", "low", "high", "control_held"} <= set(table)
    opened = diptych.open_data("set", group="light", need="groups")
    assert diptych.audit.groups(opened)[0].value == found[0].value
    wide = diptych.audit.groups(opened, settings={"gap": 0.3})
    assert (wide.data["gap"], wide.data["settings"]) == (0.3, {"gap": 0.3})


def test_ranges_and_columns_are_checked_before_a_model_is_loaded() -> None:
    with pytest.raises(UsageError, match="selection= must be one of 'half', 'all', got 'both'"):
        diptych.audit.groups("set", "no-such-model", group="light", selection="both")
    with pytest.raises(UsageError, match="group="):
        diptych.audit.groups("set", "no-such-model")
    with pytest.raises(UsageError, match="group= names a column of a file, and this is a LabelledData"):
        diptych.audit.groups(diptych.open_data("set"), group="light")
