from __future__ import annotations

import pytest

from diptych.core import AuditData, ClassNames, DataError, Run
from diptych.methods.audit.holistic_robustness import HolisticRobustness
from diptych.methods.audit.shortcut_learning import ShortcutLearning
from diptych.tasks.audit.models import audit_models
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table


def test_findings_are_those_of_the_auditor_about_each_backbone() -> None:
    data, run = AuditData.single(table(list(range(4)) * 10, 1), ClassNames(NAMES)), Run(seed=3)
    findings = audit_models(HolisticRobustness(factors=("darker",)), [SmallBackbone()], data, run)
    assert {f.subject for f in findings} == {"small"}
    assert {f.about for f in findings if f.measure == "drop"} <= {"darker"}
    assert "accuracy" in {f.measure for f in findings}


def test_data_that_cannot_be_audited_are_named() -> None:
    with pytest.raises(DataError, match="one table with the role 'id'"):
        audit_models(ShortcutLearning(), [SmallBackbone()], AuditData())
    few = AuditData.single(table([0, 1] * 5, 1), ClassNames(NAMES[:2]))
    with pytest.raises(DataError, match="both classes need 20"):
        audit_models(ShortcutLearning(), [SmallBackbone()], few)
