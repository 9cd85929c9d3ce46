"""How far scores of a detector can be trusted: error rates, where folders or a column say of which kind each photo is,
and photos that were given as normal ones too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from diptych.core import Samples, Table, UnreadableItem
from diptych.core.wording import number_of
from diptych.metrics.detection import alarm_rates, auroc, average_precision
from diptych.metrics.presentation import equal_error_rate, error_rates
from diptych.tasks.detect import Detections

NORMAL = frozenset({"good", "normal", "bona fide", "bonafide"})
"""Names of kinds that are normal, besides those of the normal photos."""


def labelled_errors(
    result: Detections, photos: Table[Any], classes: Sequence[str], normal: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return the error rates of a run on photos of known kinds.

    Args:
        result: what was found on the photos.
        photos: with a column "label", and perhaps "group", the kinds of anomalies.
        classes: names of the labels, the kinds.
        normal: kinds that are normal, besides ``NORMAL``.

    Returns:
        - "normal": the kinds that are; "items" and "anomalous": numbers of photos.
        - "image_auroc" and "image_ap", higher is better, and "eer", lower is better: of the ranking.
        - "false_alarms", "detected", "hter" and "acer" at the threshold, where there is one. ACER counts the kind that
          is missed most.

        All are fractions. None where the photos that can be read are of normal kinds only, or of other kinds only, or
        have no kinds.
    """
    known = sorted({k for k in classes if k in normal or k.lower() in NORMAL})
    if "label" not in photos.columns or not known:
        return None
    row_of = {photos.items.name(i): i for i in range(len(photos))}
    rows = [row_of[d.name] for d in result.results]
    named = [classes[label] for label in photos.labels()[rows].tolist()]
    group = photos.columns.get("group")
    kinds = named if group is None else np.asarray(group.values)[rows].tolist()
    bad = np.array([kind not in known for kind in named], dtype=bool)
    if not 0 < bad.sum() < len(bad):
        return None
    scores = np.array([d.score for d in result.results])
    facts: dict[str, Any] = {"normal": known, "items": len(bad), "anomalous": int(bad.sum())}
    facts |= {"image_auroc": auroc(scores, bad), "image_ap": average_precision(scores, bad)}
    facts |= {"eer": equal_error_rate(scores, bad)}
    if result.threshold is not None:
        false, true = alarm_rates(scores, bad, result.threshold)
        facts |= {"false_alarms": false, "detected": true, **error_rates(scores, bad, result.threshold, kinds)}
    return facts


def normal_too(photos: Samples[Any], normal: Samples[Any]) -> str:
    """Return a remark where photos are among the normal ones, by their content; "" where none is.

    Args:
        photos: that are scored.
        normal: that the detector learnt from, or its threshold was set on.
    """
    known = frozenset(_keys(normal))
    if not (count := sum(key in known for key in _keys(photos))):
        return ""
    which = f"{count:,} of {number_of(len(photos), 'photo')} {'is' if count == 1 else 'are'} also given as {{normal}}"
    return (
        f"{which}. Such photos score low, or below the threshold, by construction, which tells nothing about others: "
        f"give normal photos that are not tested."
    )


def _keys(samples: Samples[Any]) -> Iterator[str]:
    """Yield the content keys of the items that can be read."""
    for i in range(len(samples)):
        with suppress(UnreadableItem):
            yield samples.key(i)
