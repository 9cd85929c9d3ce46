from __future__ import annotations

import pytest

from diptych.core import AuditData, ClassNames, DataError, Run, UsageError
from diptych.methods.audit.holistic_robustness import HolisticRobustness
from diptych.methods.audit.shortcut_learning import ShortcutLearning
from diptych.tasks.audit.models import audit_models, robustness_auditor, shortcut_auditor
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table


def test_findings_are_those_of_the_auditor_about_each_backbone() -> None:
    data, run = AuditData.single(table(list(range(4)) * 10, 1), ClassNames(NAMES)), Run(seed=3)
    findings = audit_models(robustness_auditor(["darker"]), [SmallBackbone()], data, run)
    assert {f.subject for f in findings} == {"small"}
    assert {f.about for f in findings if f.measure == "drop"} <= {"darker"}
    assert "accuracy" in {f.measure for f in findings}


def test_settings_reach_the_systems_and_their_ranges_are_checked() -> None:
    assert robustness_auditor() == HolisticRobustness()
    assert shortcut_auditor() == ShortcutLearning()
    assert shortcut_auditor(0.7, [0.2], 3) == ShortcutLearning(shortcut=0.7, opacities=(0.2,), draws=3)
    with pytest.raises(UsageError, match="no factor 'rain': choose of"):
        robustness_auditor(["rain"])
    with pytest.raises(UsageError, match="shortcut must be in"):
        shortcut_auditor(1.5)


def test_data_that_cannot_be_audited_are_named() -> None:
    with pytest.raises(DataError, match="one table with the role 'id'"):
        audit_models(shortcut_auditor(), [SmallBackbone()], AuditData())
    few = AuditData.single(table([0, 1] * 5, 1), ClassNames(NAMES[:2]))
    with pytest.raises(DataError, match="both classes need 20"):
        audit_models(shortcut_auditor(), [SmallBackbone()], few)
