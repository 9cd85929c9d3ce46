from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import (
    AuditData,
    ClassNames,
    Column,
    DataError,
    Finding,
    Kit,
    MissingPart,
    Probe,
    Run,
    Subject,
    Table,
    UsageError,
)
from diptych.methods.audit.shortcut_learning import ShortcutLearning, two_classes
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table

NAMED = ClassNames(NAMES)
OWN = table([0, 1] * 30 + [2] * 5, 1)
QUICK = ShortcutLearning(opacities=(1.0,), draws=4, most=60)
LINE = replace(QUICK, heads=QUICK.heads[:1])
RATIOS = (1 / 16, 1.0, 16.0)


def audited(method: ShortcutLearning = QUICK, seed: int = 0) -> list[Finding]:
    return method.audit({"a": Subject.of(SmallBackbone())}, AuditData.single(OWN, NAMED), Run(seed=seed))


def test_findings_have_a_control_and_name_pictures() -> None:
    linear, network = audited()
    for f in (linear, network):
        assert (f.measure, f.count, f.unit) == ("shortcut_bias", 30, "reliance")
        assert f.range == (-2.0, 2.0), "a difference of reliances, each in [-1, 1]"
        assert f.value is not None
        assert 0 < f.value <= 2
        assert f.control is not None
        assert f.control.interval[0] < 0.2
        assert "square" in f.says
        keys = {OWN.items.key(i) for i in range(60)}
        assert {e.key for e in f.examples} <= keys
    assert linear.about == "linear head, square at 100 %"
    assert audited(LINE) == [linear]
    assert audited(LINE, seed=1)[0].value != linear.value


def test_the_two_largest_classes_are_read_in_equal_halves() -> None:
    rows, core, train = two_classes(Probe(OWN, "id", NAMED), 41, np.random.default_rng(0))
    labels = OWN.labels()[rows]
    assert len(rows) == len(set(rows.tolist())) == 40
    assert (labels[core < 0] == 0).all()
    assert (labels[core > 0] == 1).all()
    assert train[core < 0].sum() == train[core > 0].sum() == 10


def test_what_cannot_be_tested_says_why() -> None:
    few = AuditData.single(table([0, 1] * 19, 1), NAMED)
    (only,) = QUICK.audit({"a": Subject.of(SmallBackbone())}, few, Run())
    assert only.reason == "oak tree has 19 pictures, and both classes need 20: give more."
    alone = AuditData.single(table([0] * 40, 1), ClassNames(("fox",)))
    assert "Only one class" in QUICK.audit({"a": Subject.of(SmallBackbone())}, alone, Run())[0].reason
    names = Column("label", np.arange(60) % 2)  # one colour under two names: no head can tell them
    same = AuditData.single(Table(table([0] * 60, 1).items, {"label": names}), NAMED)
    for f in replace(QUICK, draws=2).audit({"a": Subject.of(SmallBackbone())}, same, Run()):
        assert "not above chance" in f.reason
        assert f"of {f.count} answers" in f.reason, "both squares are on one picture, which is one answer"
    with pytest.raises(MissingPart):
        QUICK.audit({"a": Subject(Kit())}, few, Run())
    with pytest.raises(UsageError, match="no model"):
        QUICK.audit({}, few, Run())
    with pytest.raises(DataError, match="exactly one"):
        QUICK.audit({"a": Subject.of(SmallBackbone())}, AuditData(), Run())


def test_ranges_are_checked() -> None:
    for wrong in ({"shortcut": 1.0}, {"draws": 1}, {"most": 39}, {"opacities": ()}, {"opacities": (0.0,)}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            ShortcutLearning(**wrong)  # type: ignore[arg-type]
