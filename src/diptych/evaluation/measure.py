"""Measure a fitted classifier on labelled items."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from diptych.core import Backbone, DataError, FittedClassifier, Run, Table
from diptych.evaluation.outcome import Outcome, intervals, mean_metrics
from diptych.metrics.selective import risk_at
from diptych.tasks.calibrate import Calibration
from diptych.tasks.record import FEW_SHOT, ZERO_SHOT, About, Record, circumstances, model_names, peak_memory_mib


def evaluate(
    fitted: FittedClassifier,
    table: Table[Any],
    run: Run,
    *,
    backbone: Backbone,
    about: About | None = None,
    seconds: dict[str, float] | None = None,
    held: Sequence[Table[Any]] = (),
    seen: bool = False,
    by: FittedClassifier | None = None,
) -> tuple[Record, Outcome]:
    """Measure a fitted classifier on labelled items that can all be read.

    Args:
        fitted: what to measure.
        table: N items with a label column.
        run: device, cache and seed.
        backbone: what it was fitted on.
        about: what the record says besides its numbers.
        seconds: times measured before ("fit", "encode", "texts"); "predict" is added, and what it spent on texts goes
            to "texts".
        held: sets of labelled items apart from ``table``: measured on all (the mean counts), calibrated on the first;
            (): there are none.
        seen: whether fit had seen the held items.
        by: the same system fitted without the held items, where ``fitted`` chose on them: it is measured on them, and
            what calibration comes to is its own. None: ``fitted`` is.

    Returns:
        The record, with intervals over items, and the outcome of each item.

    Raises:
        UnreadableItem: an item cannot be read.
        DataError: the table has no items or no label column.
    """
    about = about or About()
    labels = np.asarray(table.labels())
    if len(labels) == 0:
        raise DataError("There are no test items: give a test split.")
    texts, start = run.tally["text_us"], time.perf_counter()
    scores = fitted.checked_scores(table.items, run)
    on_texts = (run.tally["text_us"] - texts) / 1e6
    predict = time.perf_counter() - start - on_texts
    outcome = Outcome.of(scores, backbone, labels)
    held_metrics: dict[str, float] = {}
    acting: dict[str, Any] = {"risk80": risk_at(outcome.confidence, outcome.correct, 0.8)}
    if held:
        judged = fitted if by is None else by
        scored = [judged.checked_scores(part.items, run) for part in held]
        there = mean_metrics(
            [Outcome.of(s, backbone, np.asarray(part.labels())) for s, part in zip(scored, held, strict=True)]
        )
        items = float(np.mean([len(part) for part in held]))
        held_metrics = {"acc1": there["acc1"], "nll": there["nll"], "items": items, "seen": seen}
        with contextlib.suppress(DataError):  # no held item has its true class among the candidates
            calibration = Calibration.of(scored[0], backbone, np.asarray(held[0].labels()), seen=seen)
            acting |= calibration.report(
                scores if by is None else by.checked_scores(table.items, run), backbone, labels
            )
    model, pretrained = model_names(backbone.spec)
    record = Record(
        **{**vars(about), **circumstances(backbone, run, about.command), "dataset": about.dataset or "unnamed"},
        model=model,
        pretrained=pretrained,
        task=FEW_SHOT if about.shots or about.fitted else ZERO_SHOT,
        metrics=outcome.metrics(),
        ci95=intervals([outcome]),
        classnames=fitted.classes.names,
        templates=fitted.classes.templates,
        template_hash=fitted.classes.template_hash,
        items=len(labels),
        held=held_metrics,
        acting=acting,
        seconds={**(seconds or {}), "predict": predict, "texts": (seconds or {}).get("texts", 0.0) + on_texts},
        peak_memory_mib=peak_memory_mib(),
    )
    return record, outcome
