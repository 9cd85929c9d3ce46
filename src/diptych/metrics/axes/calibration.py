"""Axis of calibration: how far probabilities are from accuracies, and what one temperature changes; and of unknown
things: are items of none of the classes told from items of the classes?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from diptych.core import Control, Example, Finding, Run, Scores
from diptych.core.wording import three_digits
from diptych.metrics.agreeing import UNBOUNDED
from diptych.metrics.auroc_intervals import auroc_interval
from diptych.metrics.axes.common import half_of
from diptych.metrics.calibration import weighted_calibration_error
from diptych.metrics.classification import weighted_mean
from diptych.metrics.closed_intervals import wilson
from diptych.metrics.detection import average_precision
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import bootstrap_mean, two_sided
from diptych.metrics.outliers import energy, false_positive_rate, maximum_concept_matching, maximum_probability

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
BINS = 15


def log_likelihood(logits: Floats, labels: Ints, temperature: float = 1.0) -> Floats:
    """Return log softmax(L / T) of the true class of N items, (N,), floored at float32's smallest probability."""
    p = log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels]
    return np.asarray(np.maximum(p, np.log(np.finfo(np.float32).tiny)))


def drawn(logits: Floats, rng: np.random.Generator) -> Ints:
    """Return (N,) labels drawn from the model's own probabilities: by them it is calibrated, with nothing to gain."""
    p = softmax(logits, axis=1)
    return np.asarray((rng.random(len(p))[:, None] > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1), dtype=np.int64)


def calibrated(
    name: str, about: str, logits: Floats, labels: Ints, temperature: float, null: float, run: Run
) -> Iterator[Finding]:
    """Yield the calibration error of a table, and what a temperature of other items gains on it.

    Args:
        name: of the model.
        about: name of the table.
        logits: (N, K).
        labels: (N,) class positions.
        temperature: T, fitted on other items.
        null: T fitted on other items with labels that are ``drawn``: the control, which must gain nothing.
        run: seed of the bootstraps and of the drawn labels.
    """
    hits = np.asarray(logits.argmax(axis=1) == labels)
    before, after = (maximum_probability(logits / t) for t in (1.0, temperature))
    error, low, high = error_interval(before, hits, run)
    better, over = error_interval(after, hits, run)[0], float(before.mean() - hits.mean())
    yield Finding(
        name, "calibration_error", error, (low, high), about,
        {"error_with_temperature": better, "temperature": temperature, "confidence_minus_accuracy": over},
        range=(0.0, 1.0), count=len(labels), harm=max(0.0, low) if over > 0 else 0.0,
        says=f"Its probabilities are off by {100 * error:.0f} points on average in {about}: "
        f"it is {'too sure' if over > 0 else 'not sure enough'}.",
        advice=f"Divide its logits by {three_digits(temperature)}: its probabilities are then off by "
        f"{100 * better:.0f} points.",
    )  # fmt: skip
    lucky = drawn(logits, np.random.default_rng(run.integer(f"drawn labels of {about}")))
    gains, null_gains = (
        log_likelihood(logits, y, t) - log_likelihood(logits, y) for y, t in ((labels, temperature), (lucky, null))
    )
    gain, control = (bootstrap_mean(v[None], run.integer("nll"), possible=UNBOUNDED) for v in (gains, null_gains))
    yield Finding(
        name, "temperature_gain", gain.value, (gain.low, gain.high), about, {"temperature": temperature},
        unit="nats", range=(-np.inf, np.inf), count=len(labels), units=gains,
        control=Control(
            "gain_on_labels_of_its_own_probabilities", control.value, (control.low, control.high), above=True
        ),
    )  # fmt: skip


def error_interval(confidence: Floats, hits: Bools, run: Run) -> tuple[float, float, float]:
    """Return ECE with its 95 % interval over items.

    The lower end is that of |mean of confidence - hit|, which the true error is never below; the upper end is that of
    resamples. On few items the binned error is above the true one, and that of a resample more so: an interval of
    resamples alone never holds an error of 0. This one holds the truth in 91 to 99 % of runs from 30 items on.
    """
    n, rng = len(hits), np.random.default_rng(run.integer("calibration"))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=1000).astype(np.float64)
    value = float(weighted_calibration_error(confidence, hits, np.ones((1, n)), BINS)[0])
    errors = weighted_calibration_error(confidence, hits, counts, BINS)
    high = two_sided(value, errors, units=n, possible=(0.0, 1.0)).high
    surplus = confidence - hits
    over = two_sided(float(surplus.mean()), weighted_mean(surplus, counts), units=n, possible=(-1.0, 1.0))
    return value, min(max(0.0, over.low, -over.high), value), max(high, value)


def outlier_scores(a: Scores) -> dict[str, Floats]:
    """Return score name -> (N,) of "mcm" and "energy"; of a classifier's logits "mcm" is the maximum probability.

    The energy of probabilities is 0 for every item, and is left out.

    Cosines enter as they are: multiplied by the model's scale, nearly all confidences would be near 1. Classes that are
    no candidates have no probability.
    """
    values = a.values.double().numpy()
    if a.candidates is not None:
        values = np.where(a.candidates.numpy(), values, -np.inf)
    mcm = maximum_concept_matching(values) if a.kind == "cosine" else maximum_probability(values)
    return {"mcm": mcm} if a.kind == "log_prob" else {"mcm": mcm, "energy": energy(values)}


def told_apart(
    name: str, about: str, score: str, inside: Floats, outside: Floats, recall: float, run: Run,
    examples: tuple[Example, ...] = (), say: bool = True,
) -> Finding:  # fmt: skip
    """Return AUROC of one score; two halves of the own items are the control, and must not be told apart.

    Args:
        name: of the model.
        about: name of the table of other items.
        score: name of the score.
        inside: (N,) scores of own items, which are the positive class.
        outside: (M,) scores of other items.
        recall: at which false positives are counted.
        run: seed of the halves.
        examples: other items that pass for own ones.
        say: whether to word the finding, which one score of several does.
    """
    first = half_of(len(inside), run, "own halves")
    area, halves = _area(inside, outside), _area(inside[first], inside[~first])
    rate, reached, _ = false_positive_rate(inside, outside, recall)
    is_inside = np.r_[np.ones(len(inside), dtype=bool), np.zeros(len(outside), dtype=bool)]
    details: Mapping[str, float] = {
        "false_positive_rate": rate,
        "recall": reached,
        "aupr": average_precision(np.r_[inside, outside], is_inside),
    }
    return Finding(
        name, f"auroc_{score}", area.value, (area.low, area.high), about, details, range=(0.0, 1.0),
        count=len(outside), examples=examples,
        control=Control("auroc_of_own_halves", halves.value, (halves.low, halves.high), 0.5),
        says=f"{100 * rate:.0f} % of the pictures in {about}, which show none of the classes, still pass for one at "
        f"the threshold that keeps {100 * reached:.0f} % of your own pictures." if say else "",
        advice="Do not take the best class for an answer: refuse pictures below the threshold, or add a class for "
        "what else your users send." if say else "",
        harm=max(0.0, wilson(round(rate * len(outside)), len(outside))[0]) if say else 0.0,
    )  # fmt: skip


def _area(inside: Floats, outside: Floats) -> Interval:
    is_inside = np.r_[np.ones(len(inside), dtype=bool), np.zeros(len(outside), dtype=bool)]
    return auroc_interval(np.r_[inside, outside][None], is_inside)
