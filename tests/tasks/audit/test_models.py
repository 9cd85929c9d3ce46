from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import AuditData, Auditor, ClassNames, Column, DataError, Run, Table
from diptych.data.formats.mmvp import IMAGES, PATTERNS, read_mmvp_vlm
from diptych.methods.audit.holistic_robustness import HolisticRobustness
from diptych.methods.audit.shortcut_learning import ShortcutLearning
from diptych.tasks.audit.models import audit_association, audit_blind, audit_models
from diptych.tasks.defaults import default
from tests.data.formats.test_mmvp import mmvp_folder
from tests.methods.audit.test_concept_association_bias import OBJECTS, Bag, fruit
from tests.support.backbone import SmallBackbone
from tests.support.image_files import truncated
from tests.support.pictures import NAMES, Pictures, picture, table


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


def test_pictures_are_mined_with_a_second_encoder() -> None:
    table = Table(Pictures(tuple(picture(i % 4, i) for i in range(30))))
    method = default("audit blind", Auditor, top=0.3, bottom=0.5)
    (share,), failed = audit_blind(table, SmallBackbone(), vision=SmallBackbone(seed=3).image, method=method)
    assert (share.measure, share.count, failed) == ("blind_share", 30, ())
    with pytest.raises(DataError, match="part 'vision'"):
        audit_blind(table, SmallBackbone())


def test_a_broken_picture_takes_its_pair_along(tmp_path: Path) -> None:
    folder = mmvp_folder(tmp_path, 12)
    truncated(folder / IMAGES / PATTERNS[0] / "1.jpg")
    findings, failed = audit_blind(read_mmvp_vlm(folder), SmallBackbone(), name="vlm")
    assert findings[0].count == 11
    assert findings[0].about == "vlm"
    assert [Path(e.name).name for e in failed] == ["1.jpg"]


def test_any_column_of_groups_may_hold_the_attribute() -> None:
    own = fruit()
    table = Table(own.items, {"label": own.columns["label"], "group": own.columns["attribute"]})
    (finding,), failed = audit_association(table, ClassNames(OBJECTS), [Bag(1.0)])
    assert (finding.value, failed) == (1.0, ())
    asking = default("audit association", Auditor, template="{object} {value}")
    (asked,), _ = audit_association(table, ClassNames(OBJECTS), [Bag(1.0)], method=asking)
    assert asked.value == 1.0
    plain = Table(own.items, {"label": own.columns["label"], "hue": Column("group", ("a",) * 30)})
    with pytest.raises(DataError, match="no column 'attribute'"):
        audit_association(plain, ClassNames(OBJECTS), [Bag(1.0)])
