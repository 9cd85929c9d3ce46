"""Classify photos with words, and measure a fitted classifier on labelled ones."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Samples, Subset, Table
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier, FittedClassifier
from diptych.core.run import Run
from diptych.features.embed import embed_readable
from diptych.tasks.outcome import Outcome, intervals, logits
from diptych.tasks.record import FEW_SHOT, ZERO_SHOT, Record, machine, model_names, now, peak_memory_mib, threads, versions


@contextlib.contextmanager
def with_store(run: Run) -> Iterator[Run]:
    """Give a run without a cache folder a temporary one, so that no image is encoded twice within a task."""
    if run.cache is not None:
        yield run
        return
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        yield replace(run, cache=Path(folder))


@dataclass(frozen=True)
class Prediction:
    """What was said about one photo.

    Args:
        name: what the user calls it.
        top: (class name, probability), best first.
    """

    name: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Classified:
    """Predictions for all readable photos.

    Args:
        predictions: in the order of the photos.
        failed: photos that could not be read, and why.
        classes: names and templates that were used.
        backbone: canonical name of the backbone.
        method: slug of the system.
        score: "softmax" (probabilities of a photo sum to 1 over all classes) or "sigmoid" (each class for itself).
        threshold: classes below it were left out; None: none were.
        seconds: "encode", "fit" and "predict" wall seconds.
        encoded: photos that went through the image tower; the others came from the cache.
    """

    predictions: tuple[Prediction, ...]
    failed: tuple[UnreadableItem, ...]
    classes: ClassNames
    backbone: str
    method: str
    score: str
    threshold: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    encoded: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "predictions": [
                {"path": p.name, "labels": [{"label": label, "probability": round(value, 6)} for label, value in p.top]}
                for p in self.predictions
            ],
            "skipped": [{"path": e.name, "reason": e.reason} for e in self.failed],
            "backbone": self.backbone,
            "method": self.method,
            "score": self.score,
            "threshold": self.threshold,
            "classnames": list(self.classes.names),
            "templates": list(self.classes.templates),
            "template_hash": self.classes.template_hash,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }

    def as_csv(self) -> str:
        """Return one line a photo and rank: path, rank, label, probability."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["path", "rank", "label", "probability"])
        for p in self.predictions:
            writer.writerows([p.name, rank, label, f"{value:.6f}"] for rank, (label, value) in enumerate(p.top, 1))
        return text.getvalue()


def classify(
    photos: Samples[Any],
    names: ClassNames | Sequence[str],
    backbone: Backbone,
    run: Run | None = None,
    *,
    templates: Sequence[str] | None = None,
    method: Classifier | None = None,
    evidence: Evidence[Any] | None = None,
    top: int = 5,
    threshold: float | None = None,
) -> Classified:
    """Say what is on each photo.

    Args:
        photos: N images.
        names: K class names, or names with their templates.
        backbone: embeds photos and names.
        run: device, cache and progress; None: a plain CPU run.
        templates: replace those of ``names``; None: the ensemble of ``data.templates`` where ``names`` brings none.
        method: any classifier; None is zero-shot.
        evidence: what ``method`` may see.
        top: classes a photo, at least 1.
        threshold: leave out classes with a probability below it; a photo may end without any.

    Returns:
        Predictions of the readable photos; the others are named in ``failed``.

    Raises:
        UsageError: ``top`` below 1, or a threshold outside [0, 1].
        DataError: there is no photo, or none can be read.
    """
    from diptych.data.templates import ENSEMBLE
    from diptych.methods.classify.zero_shot import ZeroShot

    if top < 1:
        raise UsageError("top must be at least 1.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError("The threshold is a probability: give a number from 0 to 1.")
    if len(photos) == 0:
        raise DataError("No photos: give a folder, a table or files that hold some.")
    classes = names if isinstance(names, ClassNames) else ClassNames(tuple(names), tuple(ENSEMBLE))
    if templates is not None:
        classes = replace(classes, templates=tuple(templates))
    system = method or ZeroShot()
    with with_store(run or Run()) as stored:
        before, start = stored.tally["encoded"], time.perf_counter()
        readable = embed_readable(backbone.image, photos, stored)
        seconds = {"encode": time.perf_counter() - start}
        encoded = stored.tally["encoded"] - before
        if len(readable.kept) == 0:
            raise DataError(f"None of the {len(photos)} photos can be read; the first: {readable.failed[0]}.")
        kept = Subset(photos, tuple(int(i) for i in readable.kept))
        start = time.perf_counter()
        fitted = system.fit(Kit({"main": backbone}), classes, evidence or Evidence(), stored)
        seconds["fit"] = time.perf_counter() - start
        start = time.perf_counter()
        scores = fitted.scores(kept, stored)
        seconds["predict"] = time.perf_counter() - start
    sigmoid = backbone.score == "sigmoid" and scores.kind != "log_prob"
    values = logits(scores, backbone)
    probabilities = (values.sigmoid() if sigmoid else values.softmax(dim=1)).numpy()
    order = scores.ranked().argsort(dim=1, descending=True, stable=True)[:, :top].numpy()
    predictions = tuple(
        Prediction(
            kept.name(i),
            tuple((classes.names[k], float(row[k])) for k in best if threshold is None or row[k] >= threshold),
        )
        for i, (row, best) in enumerate(zip(probabilities, order, strict=True))
    )
    return Classified(
        predictions, tuple(readable.failed), classes, backbone.spec.name, system.card.slug,
        "sigmoid" if sigmoid else "softmax", threshold, seconds, encoded,
    )  # fmt: skip


@dataclass(frozen=True)
class About:
    """What a record says besides its numbers.

    Args:
        dataset, source, data_hash: the data.
        method, variant, shots, seed, val: the row.
        texts, texts_hash: the text pool that the system read.
        command: the command line that repeats the run.
        skipped: unreadable items and why.
    """

    dataset: str = ""
    source: str = ""
    data_hash: str = ""
    method: str = ""
    variant: str = ""
    shots: int = 0
    seed: int = 0
    val: str = ""
    texts: str = ""
    texts_hash: str = ""
    command: str = ""
    skipped: tuple[str, ...] = ()


def evaluate(
    fitted: FittedClassifier,
    table: Table[Any],
    run: Run,
    *,
    backbone: Backbone,
    about: About | None = None,
    seconds: dict[str, float] | None = None,
) -> tuple[Record, Outcome]:
    """Measure a fitted classifier on labelled items that can all be read.

    Args:
        fitted: what to measure.
        table: N items with a label column.
        run: device, cache and seed.
        backbone: what it was fitted on.
        about: what the record says besides its numbers.
        seconds: times measured before ("fit", "encode"); "predict" is added.

    Returns:
        The record, with bootstrap intervals over items, and the outcome of each item.

    Raises:
        UnreadableItem: an item cannot be read.
        DataError: the table has no items or no label column.
    """
    about = about or About()
    labels = np.asarray(table.labels())
    if len(labels) == 0:
        raise DataError("There are no test items: give a test split.")
    start = time.perf_counter()
    scores = fitted.scores(table.items, run)
    predict = time.perf_counter() - start
    outcome = Outcome.of(scores, backbone, labels)
    model, pretrained = model_names(backbone.spec)
    record = Record(
        **{**vars(about), "dataset": about.dataset or "unnamed"},
        model=model,
        pretrained=pretrained,
        task=FEW_SHOT if about.shots else ZERO_SHOT,
        metrics=outcome.metrics(),
        ci95=intervals([outcome], seed=run.integer("bootstrap")),
        classnames=fitted.classes.names,
        templates=fitted.classes.templates,
        template_hash=fitted.classes.template_hash,
        backbone=backbone.spec.name,
        fingerprint=backbone.fingerprint,
        items=len(labels),
        seconds={**(seconds or {}), "predict": predict},
        peak_memory_mib=peak_memory_mib(),
        device=run.device,
        precision=run.precision,
        threads=threads(),
        versions=versions(),
        machine=machine(),
        date=now(),
    )
    return record, outcome
