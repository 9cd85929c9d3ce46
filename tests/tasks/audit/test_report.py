from __future__ import annotations

import json
from typing import Any

import pytest

from diptych.core import AuditData, ClassNames, Control, Finding, Probe, Run, Subject, Table, UsageError
from diptych.data.factors import Altered
from diptych.tasks.audit import report as audit_report
from diptych.tasks.audit.report import Bound, by_severity, is_failure, judged, report
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table

OWN = table([0, 1, 2, 3] * 6, 1)
DATA = AuditData(
    {
        "own": Probe(OWN, "id", ClassNames(NAMES)),
        "shots": Probe(table([0, 1, 2, 3] * 3, 2), "train", ClassNames(NAMES)),
        "dark": Probe(Table(Altered(OWN.items, "darker"), OWN.columns), "shift", ClassNames(NAMES)),
    }
)
SUBJECTS = {"small": Subject.of(SmallBackbone()), "other": Subject.of(SmallBackbone(seed=1))}


def finding(measure: str, value: float, about: str = "", **more: Any) -> Finding:
    return Finding("small", measure, value, about=about, **more)


def test_a_report_runs_what_the_data_allow_and_names_the_rest() -> None:
    result = report(SUBJECTS, DATA, Run(), title="own: audit", bounds=(Bound.read("accuracy=0.99", "at least"),))
    assert "holistic-robustness" in result.findings
    assert "no group column" in result.lacking["counteranimal"]
    assert result.blame is not None
    assert [v.subject for v in result.broken] == ["small"], "models beside it cannot break a bound"
    data = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert {f["audit"] for f in data["findings"]} == set(result.findings)
    assert data["tables"]["dark"] == {"role": "shift", "items": 24}
    assert data["bounds"][0]["broken"] is True
    with pytest.raises(UsageError, match="'clip4dm' audits no models"):
        report(SUBJECTS, DATA, Run(), only=("clip4dm",))
    with pytest.raises(UsageError, match="no model"):
        report({}, DATA, Run())


def test_a_model_that_an_audit_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from diptych.methods.audit.counteranimal import CounterAnimal

    monkeypatch.setattr(audit_report, "auditors", lambda only, settings: {"counteranimal": CounterAnimal()})
    monkeypatch.setattr(CounterAnimal, "lacks", lambda self, subjects, data: "")
    result = report(SUBJECTS, DATA, Run())
    assert result.findings == {}
    assert "no group column" in result.lacking["counteranimal"]


def test_what_takes_most_comes_first_and_what_is_doubted_late() -> None:
    doubted = Control("c", 0.3, (0.2, 0.4))
    found = [
        Finding.not_testable("small", "slope", "none"),
        finding("info", 0.9),
        finding("doubted", 0.9, harm=0.9, says="x", control=doubted),
        finding("little", 0.1, harm=0.1, says="x"),
        finding("much", 0.5, harm=0.5, says="x", control=Control("c", 0.0, (-0.1, 0.1))),
    ]
    assert [f.measure for f in by_severity(found)] == ["much", "little", "doubted", "info", "slope"]
    assert [f.measure for f in by_severity(found) if is_failure(f)] == ["much", "little"]


@pytest.mark.parametrize(
    ("text", "side", "broken", "why"),
    [
        ("drop=0.3", "at most", True, "drop about darker is 0.4."),
        ("drop=0.4", "at most", False, "drop about darker is 0.4."),
        ("drop:pose=0.15", "at most", False, "drop about pose is 0.1."),
        ("accuracy=0.6", "at least", True, "accuracy is 0.5."),
        ("accuracy=0.5", "at least", False, "accuracy is 0.5."),
        ("auroc_mcm=0.5", "at least", True, "It was not measured; measured were accuracy, drop."),
        ("shape_bias=0.5", "at least", True, "At chance."),
    ],
)
def test_the_worst_finding_decides_and_what_was_not_measured_is_broken(
    text: str, side: Any, broken: bool, why: str
) -> None:
    found = [
        finding("drop", 0.1, "pose"),
        finding("drop", 0.4, "darker"),
        finding("accuracy", 0.5),
        Finding.not_testable("small", "shape_bias", "At chance.", about="cues"),
    ]
    verdict = judged(Bound.read(text, side), "small", [*found, Finding("other", "auroc_mcm", 0.9)])
    assert (verdict.broken, verdict.why) == (broken, why)


@pytest.mark.parametrize("text", ["drop", "drop=", "drop=x", "=0.2", ""])
def test_what_is_no_bound_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="A bound is MEASURE=NUMBER"):
        Bound.read(text, "at most")
