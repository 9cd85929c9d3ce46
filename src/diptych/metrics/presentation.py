"""Error rates of presentation-attack detection: of photos of a real thing (bona fide) and of attacks, such as prints.

BPCER = share of bona fide items that are called attacks
APCER_k = share of the attacks of kind k that are called bona fide
EER   = the rate at which BPCER and the share of all attacks called bona fide are equal, on the items themselves
HTER  = (BPCER + share of all attacks called bona fide) / 2           at a threshold that was set elsewhere
ACER  = (BPCER + max over kinds k of APCER_k) / 2                     at such a threshold
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.core import DataError
from diptych.metrics.detection import Marks, Scores, roc_curve


def equal_error_rate(scores: Scores, labels: Marks) -> float:
    """Return the equal error rate. Lower is better, in [0, 1]; 0.5 is chance.

    The ROC curve is interpolated linearly. The threshold is chosen on the items that are judged, so that this rate is
    a property of the ranking, and no promise for new items.

    Args:
        scores: (N,), higher is more like an attack.
        labels: (N,) True or 1 for attacks.

    Raises:
        DataError: as ``metrics.detection.auroc``.

    Example:
        >>> import numpy as np
        >>> equal_error_rate(np.array([0.1, 0.2, 0.6, 0.4, 0.8, 0.9]), np.array([0, 0, 0, 1, 1, 1]))
        0.3333333333333333
    """
    false, true = roc_curve(scores, labels)
    difference = false - (1 - true)  # rises from -1 to 1
    place = int(np.searchsorted(difference, 0.0))  # the first with false alarms at least as frequent as misses
    low, high = difference[place - 1], difference[place]
    share = -low / (high - low)
    return float(false[place - 1] + share * (false[place] - false[place - 1]))


def error_rates(
    scores: Scores, labels: Marks, threshold: float, kinds: Sequence[object] | None = None
) -> dict[str, float]:
    """Return "hter" and "acer" at a threshold that was set on other items. Lower is better, in [0, 1].

    Args:
        scores: (N,); above the threshold an item is called an attack.
        labels: (N,) True or 1 for attacks.
        threshold: from other items than these.
        kinds: (N,) kind of each attack; those of bona fide items are not read. None: all attacks are of one kind, and
            both rates are equal.

    Raises:
        DataError: as ``metrics.detection.auroc``, or another number of kinds.

    Source: ISO/IEC 30107-3 for APCER and BPCER; ACER with the worst kind, as in Boulkenafet et al. 2017 (OULU-NPU).
    """
    roc_curve(scores, labels)  # checks
    bad, alarm = np.asarray(labels).astype(bool), np.asarray(scores) > threshold
    named = np.zeros(len(bad), dtype=int) if kinds is None else np.array([str(k) for k in kinds])
    if len(named) != len(bad):
        raise DataError(f"There are {len(named)} kinds for {len(bad)} labels: give one per item.")
    bona_fide = float(alarm[~bad].mean())
    attacks = 1 - float(alarm[bad].mean())
    worst = max(1 - float(alarm[bad & (named == kind)].mean()) for kind in np.unique(named[bad]))
    return {"hter": (bona_fide + attacks) / 2, "acer": (bona_fide + worst) / 2}
