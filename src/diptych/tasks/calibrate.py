"""Probabilities one can act on: a temperature, sets with a promised coverage, and an "unknown" at a promised
false-alarm rate.

Everything is read off items that no system was fitted on and no choice was made on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import Backbone, DataError, Scores
from diptych.features.heads import logits_of
from diptych.metrics.calibration import expected_calibration_error, fit_temperature
from diptych.metrics.conformal import class_thresholds, set_threshold, sets, unknown_threshold

SETS, UNKNOWN = 0.9, 0.05
"""Coverage of sets and rate of false unknowns that a board shows."""


def conformity(probabilities: NDArray[np.float64], scores: Scores) -> NDArray[np.float64]:
    """Return what decides whether a class enters a set, (N, K): its probability, and below all of these, in [-1, 0),
    its rank.

    Systems that judge among candidates give all other classes probability 0. Were these equal, a true class among them
    in more items than may be missed would let every class into every set; in their order only the next ones enter.

    Args:
        probabilities: (N, K).
        scores: which rank all classes.
    """
    order = (-scores.ranked()).argsort(dim=1, stable=True).argsort(dim=1).double().numpy()
    return np.where(probabilities > 0, probabilities, -(order + 1) / probabilities.shape[1])


@dataclass(frozen=True)
class Calibration:
    """What calibration items taught.

    Args:
        temperature: logits are divided by it.
        confidence: (n,) float64, largest probability of each calibration item, after the temperature.
        own: (n,) float64, conformity of its true class, see ``conformity``.
        labels: (n,) int64, its class.
        seen: True where fit had seen the items, so that promises are too bold for systems that search much.
    """

    temperature: float
    confidence: Tensor
    own: Tensor
    labels: Tensor
    seen: bool = False

    @classmethod
    def of(cls, scores: Scores, backbone: Backbone, labels: NDArray[np.int64], *, seen: bool = False) -> Calibration:
        """Calibrate on n items.

        Args:
            scores: (n, K).
            backbone: which gives cosines their scale.
            labels: (n,) class positions.
            seen: whether fit had seen the items.

        Raises:
            DataError: there are no items, or none has its true class among the candidates.
        """
        if not len(labels):
            raise DataError("There are no items to calibrate on: give a val split, or more train items than shots.")
        logits = logits_of(scores, backbone).double()
        temperature = fit_temperature(logits.numpy(), labels)
        p = (logits / temperature).softmax(dim=1)
        places = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        of_truth = torch.from_numpy(conformity(p.numpy(), scores))[torch.arange(len(p)), places]
        return cls(temperature, p.amax(dim=1), of_truth, places, seen)

    def probabilities(self, scores: Scores, backbone: Backbone) -> NDArray[np.float64]:
        """Return (N, K) calibrated probabilities; 0 for classes that are no candidates."""
        logits = logits_of(scores, backbone).double() / self.temperature
        return logits.softmax(dim=1).numpy()

    def sets(
        self, probabilities: NDArray[np.float64], scores: Scores, level: float, *, per_class: bool = False
    ) -> NDArray[np.bool_]:
        """Return which classes are in the set of each item, (N, K) bool, so that a share ``level`` of sets holds the
        true class.

        Args:
            probabilities: (N, K), calibrated.
            scores: what they were made of.
            level: coverage, in (0, 1).
            per_class: the promise holds within each class that has enough calibration items.

        Raises:
            UsageError: level outside (0, 1).
        """
        of_truth, conformities = self.own.numpy(), conformity(probabilities, scores)
        if per_class:
            return sets(conformities, class_thresholds(of_truth, self.labels.numpy(), conformities.shape[1], level))
        return sets(conformities, set_threshold(of_truth, level))

    def unknown(self, probabilities: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
        """Return which items are called unknown, (N,) bool: at most a share ``rate`` of items of known classes.

        Raises:
            UsageError: rate outside (0, 1), or too small for the number of calibration items.
        """
        return np.asarray(probabilities.max(axis=1) < unknown_threshold(self.confidence.numpy(), rate))

    def report(self, scores: Scores, backbone: Backbone, labels: NDArray[np.int64]) -> dict[str, Any]:
        """Return what the promises came to on labelled items, as plain data.

        Returns:
            "temperature", "items" of calibration, "seen", calibrated "ece", "coverage" and mean "set_size" at ``SETS``,
            and the share called "unknown" at ``UNKNOWN`` (absent where the items are too few to promise it).
        """
        p = self.probabilities(scores, backbone)
        inside = self.sets(p, scores, SETS)
        report: dict[str, Any] = {
            "temperature": self.temperature,
            "items": len(self.labels),
            "seen": self.seen,
            "ece": expected_calibration_error(p, labels),
            "coverage": float(inside[np.arange(len(p)), labels].mean()),
            "set_size": float(inside.sum(axis=1).mean()),
        }
        if (len(self.labels) + 1) * UNKNOWN >= 1:
            report["unknown"] = float(self.unknown(p, UNKNOWN).mean())
        return report
