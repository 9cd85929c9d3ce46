"""Axis of trends over models: what accuracy lets expect of another measure, in a family and beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np

from diptych.core.audit import ModelRecord, Subject
from diptych.core.errors import DataError
from diptych.core.findings import Finding
from diptych.core.run import Run
from diptych.metrics.interval import wilson
from diptych.metrics.trend import Line, correlations, fit_line, slope_bootstrap

CAUSES = tuple(f.name for f in fields(ModelRecord))


def effective_robustness(
    subjects: Mapping[str, Subject], shift: str, accuracy: Mapping[str, float], there: Mapping[str, tuple[float, int]],
    baseline: str,
) -> Iterator[Finding]:  # fmt: skip
    """Yield how far each model lies above the line of the baseline family under one shift.

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
        else:
            yield _above(name, shift, line, accuracy[name], y, n)


def _above(name: str, shift: str, line: Line, x: float, y: float, items: int) -> Finding:
    """Return the residual of one model; its interval is that of its accuracy under the shift, with the line held."""
    expected = float(line.at(x))
    low, high = wilson(round(y * items), items)
    details = {"expected": expected, "slope": line.slope, "models": line.models}
    return Finding(
        name, "effective_robustness", y - expected, (low - expected, high - expected), shift, details, count=items
    )


def slopes(subjects: Mapping[str, Subject], findings: Sequence[Finding], items: int, run: Run) -> Iterator[Finding]:
    """Yield the line of each measure over accuracy, within the models that share one value of a record's field.

    Args:
        subjects: the models with their records.
        findings: about them, "accuracy" among them.
        items: behind each accuracy.
        run: seed of the bootstrap over models.
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
                    yield _slope(f"{cause}={kind}", f"{measure} {about}".strip(), points, items, run)


def _slope(group: str, about: str, points: Sequence[tuple[float, float]], items: int, run: Run) -> Finding:
    x, y = [p[0] for p in points], [p[1] for p in points]
    slope = slope_bootstrap(x, y, items, run.integer("slope"), scale="none")
    pearson, spearman = correlations(x, y)
    offset = fit_line(x, y, items, scale="none").intercept
    return Finding(
        group, "slope", slope.value, (slope.low, slope.high), about,
        {"pearson": pearson, "spearman": spearman, "offset": offset},
        unit="slope", range=(-np.inf, np.inf), count=len(points), counted="models",
    )  # fmt: skip
