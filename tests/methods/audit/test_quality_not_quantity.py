from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import (
    AuditData,
    ClassNames,
    Column,
    DataError,
    Finding,
    FittedClassifier,
    Kit,
    MissingPart,
    ModelRecord,
    Probe,
    Run,
    Samples,
    Scores,
    Subject,
    Table,
    Texts,
    UsageError,
)
from diptych.methods.audit.quality_not_quantity import QualityNotQuantity

N = 200
NORMAL = NormalDist()
CLASSES = ClassNames(("cat", "dog"))
LABELS = Column("label", np.arange(N) % 2)
QUICK = QualityNotQuantity()
REFERENCE = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def table(prefix: str) -> Table[Any]:
    return Table(Texts(tuple(f"{prefix} {i}" for i in range(N))), {"label": LABELS})


DATA = AuditData({"photo": Probe(table("photo"), "id", CLASSES), "sketch": Probe(table("sketch"), "shift", CLASSES)})


@dataclass(frozen=True)
class Known(FittedClassifier):
    """Right on the first items of each table, and wrong on the others, each by a margin."""

    classes: ClassNames
    right: Mapping[str, float]
    margin: float = 1.0

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        rows = []
        for i in range(len(items)):
            name, number = str(items[i]).split()
            label = int(number) % 2
            answer = label if int(number) < round(N * self.right[name]) else 1 - label
            rows.append([self.margin * (answer == k) for k in (0, 1)])
        return Scores(torch.tensor(rows, dtype=torch.float32), "logit")


def models(source: str, lift: float, margin: float = 1.0, reference: Sequence[float] = REFERENCE) -> dict[str, Subject]:
    """Models whose accuracy under the shift lies on a line of slope 1 on the probit scale."""
    made = {}
    for i, x in enumerate(reference):
        y = NORMAL.cdf(NORMAL.inv_cdf(x) + lift)
        fitted = Known(CLASSES, {"photo": x, "sketch": y}, margin)
        made[f"{source} {i}"] = Subject(Kit({"classifier": fitted}), ModelRecord(source=source, size=10 * (i + 1)))
    return made


def audited(subjects: Mapping[str, Subject], seed: int = 0) -> dict[tuple[str, str], Finding]:
    return {(f.subject, f.measure): f for f in QUICK.audit(subjects, DATA, Run(seed=seed))}


def test_the_dilution_of_known_lines() -> None:
    subjects = {**models("web", 0.0), **models("art", 1.0), **models("web+art", 0.4)}
    report = audited(subjects)
    for source in ("web", "art", "web+art"):
        slope = report[f"source={source}", "trend_slope"]
        assert slope.value == pytest.approx(1.0, abs=0.05)
        assert (slope.count, slope.counted, slope.about) == (6, "models", "sketch")
    lifted = [NORMAL.cdf(NORMAL.inv_cdf(x) + 1.0) - x for x in REFERENCE]
    robust = report["source=art", "effective_robustness"]
    assert robust.value == pytest.approx(np.mean(lifted), abs=0.01)
    assert robust.control is not None
    assert robust.control.held
    lost = [NORMAL.cdf(NORMAL.inv_cdf(x) + 1.0) - NORMAL.cdf(NORMAL.inv_cdf(x) + 0.4) for x in REFERENCE]
    dilution = report["source=web+art", "dilution"]
    assert dilution.value == pytest.approx(np.mean(lost), abs=0.01)
    assert dilution.details["better"] == "art"
    assert 0.3 < dilution.details["position"] < 0.6
    assert "than art alone" in dilution.says
    assert report == audited(subjects)


def test_dilution_is_measured_where_the_mixture_has_models() -> None:
    few = [REFERENCE[0], *REFERENCE[2:4], REFERENCE[3]]  # the last models of the better source have no counterpart
    report = audited({**models("web", 0.0), **models("art", 1.0), **models("web+art", 0.4, reference=few)})
    shared = [x for x in REFERENCE if min(few) <= x <= max(few)]
    lost = np.mean([NORMAL.cdf(NORMAL.inv_cdf(x) + 1.0) - x for x in shared]) - np.mean(
        [NORMAL.cdf(NORMAL.inv_cdf(x) + 0.4) - x for x in few]
    )
    assert report["source=web+art", "dilution"].value == pytest.approx(lost, abs=0.01)


def test_too_few_models_for_a_control_are_stated() -> None:
    """Six models of the better source make two halves of three; with five a number would stand without a control."""
    five = REFERENCE[:5]
    subjects = {**models("web", 0.0), **models("art", 1.0, reference=five), **models("web+art", 0.4)}
    dilution = audited(subjects)["source=web+art", "dilution"]
    assert dilution.control is None
    why = "its control halves 5 models of art, and each half needs 3"
    assert dilution.details["without_control"] == why
    assert dilution.says.endswith(f"No control was measured: {why}.")
    six = {**models("web", 0.0), **models("art", 1.0), **models("web+art", 0.4)}
    full = audited(six)["source=web+art", "dilution"]
    assert full.control is not None
    assert "without_control" not in full.details
    assert "No control" not in full.says
    ensemble = audited({**models("web", 0.0), **models("art", 1.0), **models("web+art", 1.0, reference=five)})
    assert "5 models of web+art" in ensemble["source=web+art", "ensemble_robustness"].details["without_control"]


def test_the_first_source_may_be_the_better_one() -> None:
    report = audited({**models("web", 1.0), **models("art", 0.0), **models("web+art", 0.6)})
    dilution = report["source=web+art", "dilution"]
    assert dilution.details["better"] == "web"
    assert dilution.value is not None
    assert dilution.value > 0.05


def test_an_ensemble_averages_the_logits_of_both_sources() -> None:
    """The second source is surer, so the mean of the logits answers as it does."""
    report = audited({**models("web", 0.0), **models("art", 1.0, margin=3.0), **models("web+art", 1.0)})
    assert report["source=web+art", "ensemble_robustness"].value == pytest.approx(0.0, abs=0.01)
    assert report["source=web+art", "ensemble_robustness"].count == 6


def test_equal_lines_have_nothing_to_dilute() -> None:
    report = audited({**models("web", 0.3), **models("art", 0.3), **models("web+art", 0.3)})
    dilution = report["source=web+art", "dilution"]
    assert not dilution.testable
    assert "nothing to dilute" in dilution.reason


def test_what_has_no_line_says_why() -> None:
    few = dict(list(models("web", 0.0).items())[:2])
    same = {
        f"art {i}": Subject(
            Kit({"classifier": Known(CLASSES, {"photo": 0.6, "sketch": 0.5 + i / 10})}), ModelRecord(source="art")
        )
        for i in range(3)
    }
    report = audited({**few, **same, "unknown": Subject(models("x", 0.0)["x 0"].kit)})
    assert "needs 3 models of one source, got 2" in report["source=web", "trend_slope"].reason
    assert "one reference accuracy" in report["source=art", "trend_slope"].reason
    assert "names no data source" in report["unknown", "trend_slope"].reason
    assert len(report) == 3


def test_lines_are_not_extrapolated() -> None:
    low = {
        f"art {i}": Subject(
            Kit({"classifier": Known(CLASSES, {"photo": 0.2 + i / 20, "sketch": 0.8})}), ModelRecord(source="art")
        )
        for i in range(4)
    }
    report = audited({**models("web", 0.0), **low, **models("web+art", 0.3)})
    for key in (("source=art", "effective_robustness"), ("source=web+art", "dilution")):
        assert "0 models of art reach reference accuracies in the range of web" in report[key].reason
    assert report["source=web+art", "effective_robustness"].testable


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="no model"):
        QUICK.audit({}, DATA, Run())
    with pytest.raises(MissingPart):
        QUICK.audit({"a": Subject(Kit())}, DATA, Run())
    own = AuditData({"photo": DATA.probes["photo"]})
    assert "a table of a shift" in QUICK.lacks(models("web", 0.0), own)
    with pytest.raises(DataError, match="a table of a shift"):
        QUICK.audit(models("web", 0.0), own, Run())
    with pytest.raises(DataError, match="exactly one"):
        QUICK.audit(models("web", 0.0), AuditData(), Run())
    with pytest.raises(UsageError, match="models"):
        QualityNotQuantity(models=2)
