"""What a classifier said about each test item, kept beside every row, and metrics with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Scores
from diptych.features.heads import logits_of
from diptych.metrics.calibration import confidence_bins, weighted_calibration_error
from diptych.metrics.classification import class_mean_values, true_ranks, weighted_class_mean, weighted_mean
from diptych.metrics.two_way import item_mean, share_interval, skewed_interval, spread

BINS = 15
METRICS = ("acc1", "acc5", "mean_per_class_recall", "ece", "nll")


@dataclass(frozen=True)
class Outcome:
    """Predictions on N items of K classes; all metrics are functions of these five numbers per item.

    Args:
        labels: (N,) true class positions.
        predicted: (N,) top-1 class positions.
        rank: (N,) place of the true class, 0 is top-1; ties go to the first class.
        confidence: (N,) probability of the predicted class, softmax over the classes.
        log_likelihood: (N,) log probability of the true class.
        classes: K.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    rank: NDArray[np.int64]
    confidence: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    classes: int

    @classmethod
    def of(cls, scores: Scores, backbone: Backbone, labels: NDArray[np.int64]) -> Outcome:
        """Summarise scores. Probabilities are a softmax for every backbone, since each item has exactly one label."""
        ranked = scores.ranked().double().numpy()
        log_p = logits_of(scores, backbone).double().log_softmax(dim=1).numpy()
        rows = np.arange(len(labels))
        rank = true_ranks(ranked, labels)
        predicted = ranked.argmax(axis=1)
        # A true class outside the candidates has probability 0: its likelihood is floored, so that one item cannot make
        # the mean infinite.
        likelihood = np.maximum(log_p[rows, labels], np.log(np.finfo(np.float32).tiny))
        return cls(labels, predicted, rank, np.exp(log_p[rows, predicted]), likelihood, ranked.shape[1])

    def __len__(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether top-1 is right."""
        return np.asarray(self.predicted == self.labels)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of ``METRICS`` as fractions (NLL in nats); acc5 is NaN below five classes."""
        return {name: float(values[0]) for name, values in self.weighted(np.ones((1, len(self.labels)))).items()}

    def weighted(self, counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return each metric of B resamples, given by (B, N) item counts."""
        few = self.classes < 5
        return {
            "acc1": weighted_mean(self.correct, counts),
            "acc5": np.full(len(counts), np.nan) if few else weighted_mean(self.rank < 5, counts),
            "mean_per_class_recall": weighted_class_mean(self.correct, self.labels, counts),
            "ece": weighted_calibration_error(self.confidence, self.correct, counts, BINS),
            "nll": -weighted_mean(self.log_likelihood, counts),
        }

    def reliability(self) -> list[tuple[float, float, int]]:
        """Return (mean confidence, accuracy, items) of each non-empty bin of ``ece``."""
        bins = confidence_bins(self.confidence, BINS)
        chosen = [bins == b for b in range(BINS)]
        return [
            (float(self.confidence[m].mean()), float(self.correct[m].mean()), int(m.sum())) for m in chosen if m.any()
        ]


def intervals(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric that is a number, averaged over seeds of the same items.

    Seeds and items are crossed, see ``metrics.two_way``: accuracies and recalls are shares, the NLL is skewed. The ECE
    has none: on few items the binned error of calibrated probabilities is above 0, and that of a resample is higher
    still, so that no interval held a true ECE of 0.
    """
    first, right = outcomes[0], hits(outcomes)
    recall, recalls = class_mean_values(right, first.labels)
    losses = -np.stack([o.log_likelihood for o in outcomes])
    ends = {"acc1": item_mean(right)}
    if first.classes >= 5:
        ends["acc5"] = item_mean(np.stack([o.rank < 5 for o in outcomes]))
    ends["mean_per_class_recall"] = share_interval(recall, spread(recalls), len(first), most=recalls.size)
    ends["nll"] = skewed_interval(float(losses.mean()), spread(losses))
    return {name: (interval.low, interval.high) for name, interval in ends.items()}


def hits(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """Return (S, N) zeros and ones: which items each seed classified rightly; what paired tests compare."""
    return np.stack([o.correct for o in outcomes]).astype(np.float64)


def mean_metrics(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return each metric averaged over seeds."""
    tables = [outcome.metrics() for outcome in outcomes]
    return {name: float(np.mean([t[name] for t in tables])) for name in METRICS}
