from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from diptych.methods.audit.holistic_robustness import HolisticRobustness
from diptych.methods.audit.shortcut_learning import ShortcutLearning
from diptych.verbs.audit.models import AuditRobustness, AuditShortcuts
from tests.support.colours import colour_folder


def test_settings_reach_the_systems_and_their_ranges_are_checked() -> None:
    assert AuditRobustness(data="x").system() == HolisticRobustness()
    assert AuditShortcuts(data="x").system() == ShortcutLearning()
    shortcuts = AuditShortcuts(data="x", share=0.7, opacities=(0.2,), draws=3, settings={"most": "80"})
    assert shortcuts.system() == ShortcutLearning(shortcut=0.7, opacities=(0.2,), draws=3, most=80)
    with pytest.raises(UsageError, match="no factor 'rain': choose from"):
        diptych.audit.robustness("x", factors="rain")
    with pytest.raises(UsageError, match="shortcut must be in"):
        diptych.audit.shortcuts("x", share=1.5)


def test_models_are_compared_on_tables_by_their_names(tmp_path: Path) -> None:
    own, night = (str(colour_folder(tmp_path / name, {"test": 12}, ("red", "blue"))) for name in ("own", "night"))
    with pytest.warns(UserWarning, match="measures are not testable here, such as"):
        found = diptych.audit.robustness(own, factors="darker", shift={"dark": night}, against="tiny", label="")
    assert {f.subject for f in found} == {"lite", "tiny"}
    assert {f.about for f in found if f.measure == "drop"} == {"darker", "dark"}
    assert found.lines[0].startswith("lite: ")
    assert {line.partition(":")[0] for line in found.remarks} == {"lite", "tiny"}
    with pytest.raises(UsageError, match=r"shift= takes NAME=DATA with a new name each time, got 'a=y'"):
        diptych.audit.robustness(own, shift=["a=x", "a=y"])


def test_opacities_of_a_mark_may_be_one_number(tmp_path: Path) -> None:
    own = colour_folder(tmp_path / "own", {"test": 24}, ("red", "blue"))
    found = diptych.audit.shortcuts(own, opacities=1, draws=2)
    assert {f.about for f in found if f.testable} == {
        f.about for f in diptych.audit.shortcuts(own, opacities=[1.0], settings={"draws": 2}) if f.testable
    }
    assert found.data["audit"] == "shortcut-learning"
