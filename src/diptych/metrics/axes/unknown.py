"""Axis of unknown things: are items of none of the classes told from items of the classes?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diptych.core import Control, Example, Finding, Run, Scores
from diptych.metrics.axes.common import half_of
from diptych.metrics.closed_intervals import wilson
from diptych.metrics.detection import auroc_bootstrap, average_precision
from diptych.metrics.interval import Interval
from diptych.metrics.outliers import energy, false_positive_rate, maximum_concept_matching, maximum_probability

Floats = NDArray[np.float64]


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
        run: seed of the bootstrap and the halves.
        examples: other items that pass for own ones.
        say: whether to word the finding, which one score of several does.
    """
    first = half_of(len(inside), run, "own halves")
    area, halves = _area(inside, outside, run), _area(inside[first], inside[~first], run)
    rate, reached, _ = false_positive_rate(inside, outside, recall)
    own = np.r_[np.ones(len(inside), dtype=bool), np.zeros(len(outside), dtype=bool)]
    details: Mapping[str, float] = {
        "false_positive_rate": rate,
        "recall": reached,
        "aupr": average_precision(np.r_[inside, outside], own),
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


def _area(inside: Floats, outside: Floats, run: Run) -> Interval:
    own = np.r_[np.ones(len(inside), dtype=bool), np.zeros(len(outside), dtype=bool)]
    return auroc_bootstrap(np.r_[inside, outside][None], own, run.integer("auroc"), draws=500)
