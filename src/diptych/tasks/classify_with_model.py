"""Photos and an exported model: calibrated probabilities, sets with a promise, and "unknown"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core import Run, Samples, UsageError
from diptych.tasks.classified import Classified, Promises, ranked
from diptych.tasks.classify import check_reasons, check_request, reasons_of, scored, with_store
from diptych.tasks.model import Predictor


def answer(
    photos: Samples[Any],
    model: Predictor,
    run: Run | None = None,
    *,
    top: int = 5,
    threshold: float | None = None,
    sets: float | None = None,
    per_class: bool = False,
    unknown_rate: float | None = None,
    reasons: int = 0,
    name: str | Path = "",
) -> Classified:
    """Say what is on each photo, with an exported model.

    Args:
        photos: N images.
        model: see ``tasks.model.load``.
        run: device, cache and progress; None: a plain CPU run.
        top: classes per photo, at least 1.
        threshold: leave out classes with a probability below it.
        sets: coverage, in (0, 1), such as 0.9: each photo gets the set of classes that holds the true one in such a
            share of photos like those of calibration; None: no sets.
        per_class: the coverage holds within each class that has enough calibration items, not only on the whole.
        unknown_rate: in (0, 1), such as 0.05: photos are called unknown, but of those that show a known class at most
            this share.
        reasons: how many reasons per photo for its first class; 0 asks for none.
        name: of the model, for the result.

    Returns:
        Predictions of the readable photos; the others are named in ``failed``.

    Raises:
        UsageError: a number outside its range, a promise that the model cannot make, or one that its calibration items
            are too few for; or the model's system gives no reasons, and some were asked for.
        DataError: there is no photo, or none can be read.
    """
    if per_class and sets is None:
        raise UsageError("per_class says how sets are made: give their coverage too, such as sets=0.9.")
    check_request(photos, top, threshold, reasons)
    check_reasons(model.fitted, reasons, str(model.about.get("method") or type(model.fitted).__name__))
    promise = model.require_calibration() if sets is not None or unknown_rate is not None else model.calibration
    with with_store(run or Run()) as stored:
        readable, failed, scores, seconds, encoded = scored(model.fitted, photos, model.backbone, stored)
        why = reasons_of(model.fitted, readable, stored, reasons)
    p = model.probabilities_of(scores)
    order = scores.ranked().argsort(dim=1, descending=True, stable=True).numpy()
    names = model.classes.names
    inside = promise.sets(p, scores, sets, per_class=per_class) if promise and sets is not None else None
    unknown = promise.unknown(p, unknown_rate) if promise and unknown_rate is not None else None
    predictions = tuple(
        replace(
            answers,
            inside=None if inside is None else tuple(names[k] for k in order[i] if inside[i, k]),
            unknown=None if unknown is None else bool(unknown[i]),
            reasons=why[i],
        )
        for i, answers in enumerate(ranked(readable, names, p, order[:, :top], threshold))
    )
    promises: Promises = {
        "model": str(name),
        "temperature": promise.temperature if promise else None,
        "calibration_items": len(promise.labels) if promise else 0,
        "seen_by_fit": promise.seen if promise else None,
        "sets": sets,
        "unknown_rate": unknown_rate,
    }
    return Classified(
        predictions, failed, model.classes, model.backbone.spec.name, str(model.about.get("method", "")), "softmax",
        threshold, {**seconds, "fit": 0.0}, encoded, promises, table=p,
    )  # fmt: skip
