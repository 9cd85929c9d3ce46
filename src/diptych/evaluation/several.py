"""Several labels per photo: thresholds are chosen on one half of the photos and measured on the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Classifier, ClassNames, DataError, Evidence, FittedClassifier, Kit, Run, Table
from diptych.data.files import plain
from diptych.evaluation.few_shot.episodes import readable
from diptych.features.heads import logits_of
from diptych.metrics.classification import mean_average_precision
from diptych.metrics.estimate import Interval
from diptych.metrics.multilabel import class_thresholds, f1
from diptych.metrics.two_way import share_interval, spread
from diptych.tasks.classify import with_store
from diptych.tasks.record import now


@dataclass(frozen=True)
class SeveralLabels:
    """Classes with thresholds, and what they reach.

    Args:
        names: (K,) classes.
        thresholds: (K,) scores from which on a class counts as there; infinity: never.
        chosen_on, items: photos on which they were chosen, and on which they were measured.
        average_precision: mean over the classes that occur, without thresholds.
        micro, macro: F1 at the thresholds; micro with its interval over photos.
        top1: micro F1 of naming the one best class, as plain ``classify`` does.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    chosen_on: int
    items: int
    average_precision: float
    micro: Interval
    macro: float
    top1: float
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; a threshold of infinity is null."""
        return plain(
            {
                "kind": "several labels",
                **self.facts,
                "chosen_on": self.chosen_on,
                "items": self.items,
                "mean_average_precision": self.average_precision,
                "f1_micro": {"value": self.micro.value, "ci95": [self.micro.low, self.micro.high]},
                "f1_macro": self.macro,
                "f1_micro_of_top1": self.top1,
                "thresholds": dict(zip(self.names, self.thresholds, strict=True)),
            }
        )


def several_labels(
    table: Table[Any],
    classes: ClassNames,
    method: Classifier,
    backbone: Backbone,
    run: Run,
    *,
    evidence: Evidence[Any] | None = None,
) -> SeveralLabels:
    """Choose a threshold for each class on half of the photos, and measure on the other half. The table has one column
    of kind "multilabel", (N, K) bool; the method sees no labels of train.

    Scores are cosines or logits less the photo's own mean: a photo that lies near every text would else seem to show
    everything.

    Raises:
        DataError: there is no such column, it has another number of classes, or fewer than 4 photos can be read.
    """
    with with_store(run) as stored:
        seen, failed = readable(table, backbone, stored)
        targets = _targets(seen, classes)
        if len(targets) < 4:
            raise DataError(
                f"{len(targets)} photos are too few to choose thresholds on and to measure: give 4 or more."
            )
        fitted = method.fit(Kit({"main": backbone}), classes, evidence or Evidence(), stored)
        scores = _scores(fitted, seen, backbone, stored)
    order = np.random.default_rng(run.integer("halves")).permutation(len(targets))
    val, test = order[: len(order) // 2], order[len(order) // 2 :]
    thresholds = class_thresholds(scores[val], targets[val])
    predicted, truth = scores[test] >= thresholds, targets[test]
    there = truth.any(axis=0)
    best = np.zeros_like(predicted)
    best[np.arange(len(test)), scores[test].argmax(axis=1)] = True
    return SeveralLabels(
        classes.names,
        tuple(thresholds.tolist()),
        len(val),
        len(test),
        mean_average_precision(scores[test][:, there], truth[:, there]),
        _interval(predicted, truth),
        f1(predicted, truth, "macro"),
        f1(best, truth),
        {"method": method.card.slug, "backbone": backbone.spec.name, "fingerprint": backbone.fingerprint, "date": now(),
         "skipped": [str(e) for e in failed]},
    )  # fmt: skip


def _targets(table: Table[Any], classes: ClassNames) -> NDArray[np.bool_]:
    columns = [c for c in table.columns.values() if c.kind == "multilabel"]
    if not columns:
        raise DataError(
            "This table has no column of several labels: name one whose cells hold classes, such as dog;cat."
        )
    labels = np.asarray(columns[0].values, dtype=bool)
    if labels.shape != (len(table), len(classes)):
        raise DataError(
            f"The labels are of size {labels.shape}, and there are {len(table)} photos and {len(classes)} names."
        )
    return labels


def _scores(fitted: FittedClassifier, table: Table[Any], backbone: Backbone, run: Run) -> NDArray[np.float64]:
    values = logits_of(fitted.checked_scores(table.items, run), backbone).double()
    return (values - values.mean(dim=1, keepdim=True)).numpy()


def _interval(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Interval:
    """Return micro F1 with its 95 % interval over photos: that of a share, of the jackknife's spread."""
    hits, sizes = (predicted & truth).sum(axis=1), predicted.sum(axis=1) + truth.sum(axis=1)
    value, photos = f1(predicted, truth), len(truth)
    rest = 2 * (hits.sum() - hits) / np.maximum(sizes.sum() - sizes, 1)
    return share_interval(value, spread((photos * value - (photos - 1) * rest)[None]), photos)
