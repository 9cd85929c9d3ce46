"""Quality, not quantity: a data source is a line of accuracies, and a mixture of two sources has one in between.

    g(a2)  ~   b0 + b1 g(a1)                                     the line of a source
    ER     =   a2 - g^{-1}( b0 + b1 g(a1) )                      effective robustness over the line of the base source
    D      =   mean ER of the better source - mean ER of the mixture            dilution

a1, a2: accuracy of a model on the reference table, and under a shift
g: the probit, the inverse of the standard normal distribution function
b0, b1: intercept and slope, by least squares over models of one source that differ in their training items
base: the first single source; ER of it is 0 on average

Two Gaussian classes show the same in closed form. With x | y ~ N(y m_t, I) on test set t, and a linear classifier w:

    a_t = Phi( w . m_t / |w| ),         g(a2) / g(a1) = (w . m_2) / (w . m_1)
    w   = s m_A + (1 - s) m_B           where a share s of the training items is of source A, the others of B

Phi: the standard normal distribution function;  m_1, m_2: class means of the test sets;  m_A, m_B: of the sources

More items move a model along the line through the origin; the source sets the slope. Where all four products of a
source and a test set are positive, the slope of the mixture lies between those of the sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.core import AuditData, Auditor, Backbone, Control, Finding, Run, Subject
from diptych.core.ranges import at_least, check
from diptych.data.cues import COLUMN as TEXTURE
from diptych.features.subjects import Answers, answers
from diptych.metrics.estimate import Interval
from diptych.metrics.source_lines import Points, robustness, too_few
from diptych.metrics.trend import slope_interval

PLUS = "+"
"""Between the names of two sources in the record of a model that was trained on both."""


@dataclass(frozen=True)
class QualityNotQuantity(Auditor):
    """Fit the line of each training source over models of several sizes, and measure how mixing sources dilutes it.

    Use it to choose between data sources, and to decide whether to mix them, by more than the accuracy of one model.

    Args:
        models: of one source that a line needs, at least 3 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Nguyen et al. 2022; the filtering of noisy sources is left out.

    Example:
        Models of a second source that lie 10 points above the line of the first:

        >>> a = Points(np.array([0.4, 0.5, 0.6, 0.7]), np.array([0.4, 0.5, 0.6, 0.7]))
        >>> print(f"{robustness(a, Points(a.x, a.y + 0.1), items=100).value:.2f}")
        0.10
    """

    models: int = 3

    def __post_init__(self) -> None:
        check(self, at_least(3), "models")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: one table in distribution and one of a shift, both with labels and classes."""
        if lack := data.lacks_labels():
            return lack
        return "" if _shifts(data) else "This audit needs a table of a shift with labels, and there is none."

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Measure the line of each source, and the dilution of each mixture.

        Args:
            subjects: name -> model with a backbone, or with a fitted classifier of these classes as "classifier". The
                source of its record groups it; that of a model trained on two sources is "first+second".
            data: one table in distribution with labels, and tables of shifts with labels.
            run: device and cache.

        Returns:
            For each shift: "trend_slope" about each source; "effective_robustness" of each other source over the line
            of the first; "dilution" of each mixture whose two sources have lines; and "ensemble_robustness", how far
            the averaged logits of models of the two sources lie above the line of their mixture, which the paper
            expects at 0. The subject of a finding is "source=NAME". Where too few models for two halves leave it
            without a control, it says so, and details have the reason as "without_control".

        Raises:
            UsageError: there is no subject.
            MissingPart: a kit holds neither classifier nor backbone.
            DataError: there is not exactly one table in distribution, no shift, or no labels.
        """
        self.check(subjects, data)
        for subject in subjects.values():
            if "classifier" not in subject.kit.parts:
                subject.kit.need(Backbone)
        members: dict[str, list[str]] = {}
        for name, subject in subjects.items():
            members.setdefault(subject.record.source, []).append(name)
        findings = [
            Finding.not_testable(name, "trend_slope", "Its record names no data source: give one.", about=shift)
            for shift in _shifts(data)
            for name in members.pop("", ())
        ]
        for names in members.values():  # models grow along the line; the ensembles pair them in this order
            names.sort(key=lambda name: subjects[name].record.size or 0)
        enough = [name for names in members.values() if len(names) >= self.models for name in names]
        answers_of = {name: _answers(subjects[name], data, data.one()[0], run) for name in enough}
        for shift in _shifts(data):
            there = {name: _answers(subjects[name], data, shift, run) for name in enough}
            findings += self._of_shift(shift, members, answers_of, there)
        return findings

    def _of_shift(
        self, shift: str, members: Mapping[str, list[str]], here: Mapping[str, Answers], there: Mapping[str, Answers],
    ) -> Iterator[Finding]:  # fmt: skip
        items = min((len(a.labels) for a in (*here.values(), *there.values())), default=1)
        points: dict[str, Points] = {}
        for source, names in members.items():
            known = [name for name in names if name in here]
            models = Points(*(np.array([a[n].hits.mean() for n in known]) for a in (here, there)))
            if reason := models.lacks_line(items, self.models) if known else too_few(len(names), self.models):
                yield Finding.not_testable(f"source={source}", "trend_slope", reason, about=shift, count=len(names))
                continue
            points[source] = models
            yield _trend(source, shift, models, items)
        single = [source for source in points if PLUS not in source]
        for source in [s for s in points if single and s != single[0]]:
            yield self._robustness(source, single[0], shift, points, items)
        for source in points:
            parts = source.split(PLUS)
            if len(parts) == 2 and all(part in points for part in parts):
                yield self._dilution(source, parts, shift, points, items)
                pairs = list(zip(members[parts[0]], members[parts[1]], strict=False))
                mean = Points(*(np.array([_of_both(a[m], a[n]) for m, n in pairs]) for a in (here, there)))
                yield self._ensemble(source, shift, points[source], mean, items)

    def _robustness(self, source: str, base: str, shift: str, points: Mapping[str, Points], items: int) -> Finding:
        line, other, halves = points[base], points[source].within(points[base]), points[base].halves()
        if len(other) < self.models:
            return self._apart(source, "effective_robustness", shift, source, base, len(other))
        ends, (control, lack) = robustness(line, other, items), self._halves(base, halves, items)
        return Finding(
            f"source={source}", "effective_robustness", ends.value, (ends.low, ends.high), shift,
            {"over": base, "of_models": len(points[source]), **lack}, count=len(other), counted="models",
            control=control,
            says=f"Models of {source} are {_points(ends.value)} on {shift} than models of {base} of equal accuracy."
            + _stated(lack),
            advice="Choose the source by this number, not by the accuracy of one model.",
        )  # fmt: skip

    def _dilution(
        self, source: str, parts: Sequence[str], shift: str, points: Mapping[str, Points], items: int
    ) -> Finding:
        a = points[parts[0]]
        b, mixture = (points[name].within(a) for name in (parts[1], source))
        if len(b) and len(mixture):  # lines fan out, so means are compared where both have models
            b, mixture = b.within(mixture), mixture.within(b)
        for name, models in ((parts[1], b), (source, mixture)):
            if len(models) < self.models:
                return self._apart(source, "dilution", shift, name, parts[0], len(models))
        lead = robustness(a, b, items)
        if lead.low <= 0 <= lead.high:
            reason = (
                f"The lines of {parts[0]} and {parts[1]} do not differ beyond doubt ({100 * lead.value:+.1f} points, "
                f"{100 * lead.low:.1f} to {100 * lead.high:.1f}), so there is nothing to dilute."
            )
            return Finding.not_testable(f"source={source}", "dilution", reason, about=shift, count=len(mixture))
        if lead.value > 0:
            better, best, ends = parts[1], b, robustness(a, b, items, less=mixture)
        else:  # the ER of a over its own line is 0
            better, best, lost = parts[0], a, robustness(a, mixture, items)
            ends = Interval(-lost.value, -lost.high, -lost.low)
        position = 1 - ends.value / abs(lead.value)
        control, lack = self._halves(better, best.halves(), items)
        return Finding(
            f"source={source}", "dilution", ends.value, (ends.low, ends.high), shift,
            {"better": better, "lead": abs(lead.value), "position": position, **lack},
            count=len(mixture), counted="models", control=control,
            says=f"The mixture {source} is {_points(-ends.value)} on {shift} than {better} alone, at equal accuracy."
            + _stated(lack),
            advice=f"For {shift}, train on {better} alone, or on more of it than of the other.",
        )  # fmt: skip

    def _ensemble(self, source: str, shift: str, mixture: Points, mean: Points, items: int) -> Finding:
        inside = mean.within(mixture)
        if len(inside) < self.models:
            return self._apart(source, "ensemble_robustness", shift, "their ensembles", source, len(inside))
        ends, (control, lack) = robustness(mixture, inside, items), self._halves(source, mixture.halves(), items)
        return Finding(
            f"source={source}", "ensemble_robustness", ends.value, (ends.low, ends.high), shift, lack,
            count=len(inside), counted="models", control=control,
        )  # fmt: skip

    def _apart(self, source: str, measure: str, shift: str, name: str, base: str, models: int) -> Finding:
        reason = (
            f"{models} models of {name} reach reference accuracies in the range of {base}, and {self.models} must: "
            f"give smaller models of the better one, or larger ones of the other."
        )
        return Finding.not_testable(f"source={source}", measure, reason, about=shift, count=models)

    def _halves(self, name: str, halves: tuple[Points, Points], items: int) -> tuple[Control | None, dict[str, str]]:
        """Return the effective robustness of one half of the models of a source over the other half, or why there is
        none, as the detail "without_control".
        """
        if reason := next((r for half in halves if (r := half.lacks_line(items, self.models))), ""):
            models = sum(map(len, halves))
            few = f"its control halves {models} models of {name}, and each half needs {self.models}"
            return None, {"without_control": few if min(map(len, halves)) < self.models else reason}
        ends = robustness(*halves, items)
        return Control("robustness_of_half_of_the_models", ends.value, (ends.low, ends.high)), {}


def _stated(lack: Mapping[str, str]) -> str:
    """Return the end of a sentence that says why a finding has no control; "" where it has one."""
    return "".join(f" No control was measured: {reason.rstrip('.')}." for reason in lack.values())


def _shifts(data: AuditData) -> list[str]:
    """Return the names of the shifts whose accuracy is known; conflicting cues are no shift of accuracy."""
    return [
        name
        for name, probe in data.of("shift").items()
        if probe.classes is not None and "label" in probe.table.columns and TEXTURE not in probe.table.columns
    ]


def _answers(subject: Subject, data: AuditData, name: str, run: Run) -> Answers:
    probe = data.probes[name]
    return answers(subject, probe.named(), probe.table.items, probe.table.labels(), run)


def _of_both(first: Answers, second: Answers) -> float:
    """Return the accuracy of the mean logits of two models."""
    return float(((first.logits + second.logits).argmax(axis=1) == first.labels).mean())


def _trend(source: str, shift: str, models: Points, items: int) -> Finding:
    slope = slope_interval(models.x, models.y, items, scale="probit")
    details = {
        "intercept": models.line(items).intercept,
        "reference_accuracy": [float(models.x.min()), float(models.x.max())],
        "scale": "probit",
    }
    return Finding(
        f"source={source}", "trend_slope", slope.value, (slope.low, slope.high), shift, details,
        unit="slope", range=(-np.inf, np.inf), count=len(models), counted="models",
    )  # fmt: skip


def _points(gain: float) -> str:
    return f"{abs(100 * gain):.0f} points {'better' if gain >= 0 else 'worse'}"
