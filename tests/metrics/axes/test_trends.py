from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from diptych.core import Finding, Kit, ModelRecord, Subject
from diptych.metrics.axes.trends import effective_robustness, slopes

BASE = {f"b{i}": Subject(Kit(), ModelRecord("supervised")) for i in range(4)}
CLIP = {"clip": Subject(Kit(), ModelRecord("clip"))}
X = {f"b{i}": 0.3 + 0.1 * i for i in range(4)} | {"clip": 0.5}


def test_a_model_above_the_line_of_the_others_is_found() -> None:
    there = {name: (x - 0.1, 2000) for name, x in X.items()} | {"clip": (0.55, 2000)}
    found = {f.subject: f for f in effective_robustness(BASE | CLIP, "dark", X, there, "supervised")}
    above = found["clip"]
    assert above.value == pytest.approx(0.15, abs=0.02)
    assert above.interval is not None
    assert above.interval[0] > 0
    assert all(abs(found[name].value or 0.0) < 0.03 for name in BASE)
    assert all(found[name].interval is None for name in BASE)


@pytest.mark.parametrize("models", [3, 8])
def test_a_further_model_of_the_family_is_beyond_it_in_5_of_100(models: int) -> None:
    """With the line held, the interval of its own accuracy held 0 in 41 to 75 % of the runs."""
    rng, inside, n = np.random.default_rng(0), 0, 500
    subjects = {f"b{i}": Subject(Kit(), ModelRecord("supervised")) for i in range(models)} | CLIP
    for _ in range(300):
        x = rng.uniform(0.4, 0.8, models + 1)
        y = expit(0.9 * logit(x) - 0.3 + 0.05 * rng.standard_normal(models + 1))
        own, there = (dict(zip(subjects, rng.binomial(n, p) / n, strict=True)) for p in (x, y))
        (clip,) = [
            f
            for f in effective_robustness(subjects, "dark", own, {s: (v, n) for s, v in there.items()}, "supervised")
            if f.subject == "clip"
        ]
        assert clip.interval is not None
        inside += clip.interval[0] <= 0 <= clip.interval[1]
    assert 0.93 <= inside / 300 <= 0.99


def test_too_few_models_or_one_accuracy_make_no_line() -> None:
    there = dict.fromkeys(CLIP, (0.5, 100))
    (verdict,) = effective_robustness(CLIP, "dark", X, there, "supervised")
    assert verdict.reason.startswith("0 models of the family 'supervised'")
    even = dict.fromkeys(BASE, 0.5)
    verdicts = list(effective_robustness(BASE, "dark", even, dict.fromkeys(BASE, (0.4, 100)), "supervised"))
    assert all("different reference accuracies" in v.reason for v in verdicts)


def test_slopes_are_of_models_of_one_record() -> None:
    findings = [Finding(n, "accuracy", X[n], range=(0.0, 1.0)) for n in (*BASE, *CLIP)]
    findings += [
        Finding(n, "calibration_error", 0.5 - 0.5 * X[n], None, "own", range=(0.0, 1.0)) for n in (*BASE, *CLIP)
    ]
    (found,) = slopes(BASE | CLIP, findings, 1000)
    assert (found.subject, found.about, found.count) == ("family=supervised", "calibration_error own", 4)
    assert found.value == pytest.approx(-0.5)
    assert found.details["spearman"] == pytest.approx(-1.0)
    assert np.isclose(found.details["offset"], 0.5)
