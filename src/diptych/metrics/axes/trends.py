"""Axis of trends over models: what accuracy lets expect of another measure, in a family and beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np

from diptych.core import DataError, Finding, ModelRecord, Subject
from diptych.metrics.trend import correlations, expected_interval, fit_line, slope_interval

CAUSES = tuple(f.name for f in fields(ModelRecord))


def effective_robustness(
    subjects: Mapping[str, Subject], shift: str, accuracy: Mapping[str, float], there: Mapping[str, tuple[float, int]],
    baseline: str,
) -> Iterator[Finding]:  # fmt: skip
    """Yield how far each model lies above the line of the baseline family under one shift.

    The interval is that of a further model of the family: one that holds 0 shows nothing beyond the differences between
    these models. Models of the family have none, since the line is theirs.

    Args:
        subjects: the models with their records.
        shift: name of the table.
        accuracy: model -> accuracy in distribution.
        there: model -> accuracy under the shift, and its items.
        baseline: family of the records through whose models the line goes.
    """
    known = [s for s in there if subjects[s].record.family == baseline]
    reason = "" if len(known) >= 3 else f"{len(known)} models of the family {baseline!r} make no line: give 3 at least."
    line = None
    if not reason:
        items = min(n for _, n in there.values())
        try:
            line = fit_line([accuracy[s] for s in known], [there[s][0] for s in known], items, fit="theil-sen")
        except DataError as error:
            reason = str(error)
    for name, (y, n) in there.items():
        if line is None:
            yield Finding.not_testable(name, "effective_robustness", reason, about=shift, count=n)
            continue
        family = [accuracy[s] for s in known], [there[s][0] for s in known]
        expected = expected_interval(line, *family, accuracy[name])
        details = {"expected": expected.value, "slope": line.slope, "models": line.models}
        ends = None if name in known else (y - expected.high, y - expected.low)
        yield Finding(name, "effective_robustness", y - expected.value, ends, shift, details, count=n)


def slopes(subjects: Mapping[str, Subject], findings: Sequence[Finding], items: int) -> Iterator[Finding]:
    """Yield the line of each measure over accuracy, within the models that share one value of a record's field.

    Args:
        subjects: the models with their records.
        findings: about them, "accuracy" among them.
        items: behind each accuracy.
    """
    accuracy = {f.subject: f.value for f in findings if f.measure == "accuracy"}
    measures = {(f.measure, f.about): None for f in findings if f.range == (0.0, 1.0) and f.measure != "accuracy"}
    for cause in CAUSES:
        for kind in sorted({str(getattr(s.record, cause)) for s in subjects.values()} - {"", "None"}):
            names = {n for n, s in subjects.items() if n in accuracy and str(getattr(s.record, cause)) == kind}
            for measure, about in measures if len(names) >= 3 else ():
                points = [
                    (float(accuracy[f.subject] or 0.0), f.value)
                    for f in findings
                    if f.subject in names and (f.measure, f.about) == (measure, about) and f.value is not None
                ]
                if len(points) >= 3 and np.ptp([p[0] for p in points]) > 0:
                    yield _slope(f"{cause}={kind}", f"{measure} {about}".strip(), points, items)


def _slope(group: str, about: str, points: Sequence[tuple[float, float]], items: int) -> Finding:
    x, y = [p[0] for p in points], [p[1] for p in points]
    slope = slope_interval(x, y, items, scale="none")
    pearson, spearman = correlations(x, y)
    offset = fit_line(x, y, items, scale="none").intercept
    return Finding(
        group, "slope", slope.value, (slope.low, slope.high), about,
        {"pearson": pearson, "spearman": spearman, "offset": offset},
        unit="slope", range=(-np.inf, np.inf), count=len(points), counted="models",
    )  # fmt: skip
