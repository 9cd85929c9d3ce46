from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych.core import AuditData, ClassNames, Column, Probe, Run, Table, UsageError
from diptych.data.samples import as_samples
from diptych.evaluation.boards.audit import AuditBench, audit_board, difference
from diptych.metrics.closed_intervals import apart
from diptych.metrics.estimate import Interval
from diptych.metrics.pair_mean import pair_mean
from tests.support.backbone import SmallBackbone
from tests.support.pictures import picture


def finding(value: float | None, interval: Any, counted: str = "items") -> dict[str, Any]:
    return {"value": value, "interval": interval, "counted": counted, "range": [-1.0, 1.0]}


def test_pairs_give_a_narrower_difference_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=200)
    one, two = shared + 0.1, shared + 0.01 * rng.normal(size=200)
    a, b = finding(float(one.mean()), (one.mean() - 0.14, one.mean() + 0.14)), finding(float(two.mean()), (-0.14, 0.14))
    paired, apart_ = difference(a, b, one, two, 0), difference(a, b, None, two, 0)
    assert paired is not None
    assert apart_ is not None
    assert paired[1]
    assert not apart_[1]
    assert paired[0].low > 0 > apart_[0].low
    assert paired[0].value == pytest.approx(float((one - two).mean()))


def test_units_that_share_items_are_compared_over_items() -> None:
    rng = np.random.default_rng(0)
    joined = np.array([(i, j) for i in range(12) for j in range(12, 24)])
    one = rng.normal(size=24)[joined].sum(axis=1)
    a, b = finding(0.0, (-1.0, 1.0), "pairs"), finding(0.0, (-1.0, 1.0), "pairs")
    found, independent = (difference(a, b, one, np.zeros(len(one)), 0, j) for j in (joined, None))
    assert found == (pair_mean(one, joined), True)
    assert independent is not None
    assert found[0].high - found[0].low > 1.5 * (independent[0].high - independent[0].low)


def test_classes_are_compared_by_students_t_and_what_cannot_be_compared_is_none() -> None:
    a, b = finding(0.5, (0.1, 0.9), "classes"), finding(0.2, (0.1, 0.3), "classes")
    found = difference(a, b, np.array([0.4, 0.6]), np.array([0.2, 0.2]), 0)
    assert found is not None
    assert found[0].low < 0 < found[0].value == pytest.approx(0.3)
    assert difference(finding(None, None), b, None, None, 0) is None
    assert difference(finding(0.5, (None, 0.9)), b, None, None, 0) is None
    assert difference(a, finding(0.2, None), None, None, 0) is None
    assert difference(a, b, np.ones(3), np.ones(2), 0) is not None, "other units: by the two intervals"


def test_the_interval_of_a_difference_holds_it_in_95_percent_of_runs() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        means = [float(rng.normal(m, 0.1)) for m in (0.5, 0.2)]
        first, second = (Interval(m, m - 0.196, m + 0.196) for m in means)
        found = apart(first, second)
        inside += found.low <= 0.3 <= found.high
    assert 0.92 < inside / 400 < 0.98


def grouped(n: int = 80) -> AuditData:
    labels = np.arange(n) % 2
    items = as_samples([picture(int(k), i) for i, k in enumerate(labels)])
    groups = Column("group", tuple("ab"[(i // 2) % 2] for i in range(n)))
    table: Table[Any] = Table(items, {"label": Column("label", labels), "group": groups})
    return AuditData({"own": Probe(table, "id", ClassNames(("red fox", "oak tree")))})


def test_groups_are_selected_by_the_base_for_every_backbone() -> None:
    run, base, other = Run(), SmallBackbone(0), SmallBackbone(3)
    bench = AuditBench("own", grouped(), base, run, ("counteranimal",))
    rows = [bench.measure(b) for b in (base, other)]
    drops = [next(f for f in r.findings if f["measure"] == "drop" and not f["about"]) for r in rows]
    if drops[0]["testable"]:
        assert [f["details"]["reference"] for f in drops] == [True, True]  # both are called "small"
    assert bench.facts["tables"] == {"own": {"role": "id", "items": 80}}


def test_a_board_of_one_backbone_is_refused() -> None:
    bench = AuditBench("own", grouped(8), SmallBackbone(), Run())
    with pytest.raises(UsageError, match="two backbones"):
        audit_board(bench, (), lambda name: SmallBackbone())
    with pytest.raises(UsageError, match="against small is the backbone"):
        audit_board(bench, ("small",), lambda name: SmallBackbone())


def test_findings_whose_units_all_agree_differ_by_nothing_with_an_interval() -> None:
    units = np.full(32, 0.5)
    same, paired = difference(finding(0.5, [0.4, 0.6]), finding(0.5, [0.4, 0.6]), units, units, 0) or (None, False)
    assert paired
    assert same is not None
    assert same.high == -same.low == pytest.approx(2 * (1 - 0.025 ** (1 / 32)))  # a difference lies in [-2, 2]
