"""Classify photos with words, and measure a fitted classifier on labelled ones."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Run,
    Samples,
    Scores,
    Subset,
    UnreadableItem,
    UsageError,
)
from diptych.data.samples import need_photos
from diptych.features.embed import embed_readable
from diptych.features.heads import logits_of
from diptych.tasks.classified import Classified, probabilities, ranked
from diptych.tasks.defaults import default


@contextlib.contextmanager
def with_store(run: Run) -> Iterator[Run]:
    """Give a run without a cache folder a temporary one, so that no image is encoded twice within a task."""
    if run.cache is not None:
        yield run
        return
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        yield replace(run, cache=Path(folder))


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
    reasons: int = 0,
) -> Classified:
    """Say what is on each photo.

    Args:
        photos: N images.
        names: K class names, or names with their templates.
        backbone: embeds photos and names.
        run: device, cache and progress; None: a plain CPU run.
        templates: replace those of ``names``; None: the ensemble of ``data.words.templates`` where ``names`` has none.
        method: any classifier; None is zero-shot.
        evidence: what ``method`` may see; photos without labels are those that are classified, where it has none.
        top: classes per photo, at least 1.
        threshold: leave out classes with a probability below it; a photo may end without any.
        reasons: how many reasons per photo for its first class; 0 asks for none.

    Returns:
        Predictions of the readable photos; the others are named in ``failed``.

    Raises:
        UsageError: ``top`` below 1, reasons below 0 or from a method that gives none, or a threshold outside [0, 1].
        DataError: there is no photo, or none can be read.
    """
    from diptych.data.words.templates import ENSEMBLE

    check_request(photos, top, threshold, reasons)
    classes = ClassNames.of(names, ENSEMBLE)
    if templates is not None:
        classes = replace(classes, templates=tuple(templates))
    system = method or default("classify", Classifier)
    with with_store(run or Run()) as stored:
        if stored.engine:
            stored.engine.runner(backbone.image, stored)  # prepared before the clock starts
        start = time.perf_counter()
        shown = evidence or Evidence()
        if "unlabelled" in system.card.needs.evidence and shown.unlabelled is None:
            readable = embed_readable(backbone.image, photos, stored).kept.tolist()
            shown = replace(shown, unlabelled=Subset(photos, tuple(readable)))
        fitted = system.fit(Kit.of(backbone), classes, shown, stored)
        return answered(
            fitted, photos, backbone, stored, method=system.card.slug, top=top, threshold=threshold, reasons=reasons,
            start=start, classes=classes,
        )  # fmt: skip


def answered(
    fitted: FittedClassifier,
    photos: Samples[Any],
    backbone: Backbone,
    run: Run,
    *,
    method: str,
    top: int = 5,
    threshold: float | None = None,
    reasons: int = 0,
    what: str = "photos",
    start: float,
    classes: ClassNames | None = None,
) -> Classified:
    """Return what a fitted classifier says of the photos, or of the samples that stand in their place.

    Args:
        fitted: the classifier.
        photos: N samples of the backbone's "image" encoder.
        backbone: of the classifier.
        run: with a cache folder, see ``with_store``.
        method: slug, for the result.
        top: as for ``classify``.
        threshold: as for ``classify``.
        reasons: as for ``classify``.
        what: the samples, in an error.
        start: ``time.perf_counter()`` when fitting or loading began.
        classes: as they were given; None: those of the classifier.

    Raises:
        UsageError: see ``classify``.
        DataError: no sample can be read.
    """
    _check_shown(top, threshold)
    fit = time.perf_counter() - start
    check_reasons(fitted, reasons, method)
    readable, failed, scores, seconds, encoded = scored(fitted, photos, backbone, run, what)
    why = reasons_of(fitted, readable, run, reasons)
    score = "softmax" if scores.kind == "log_prob" else backbone.activation
    factors = None if scores.sharpness is None else scores.sharpness.numpy()
    shown = probabilities(logits_of(scores, backbone).numpy(), score, factors)
    order = scores.ranked().argsort(dim=1, descending=True, stable=True)[:, :top].numpy()
    named = classes or fitted.classes
    listed = ranked(readable, named.names, shown, order, threshold)
    predictions = tuple(replace(p, reasons=r) for p, r in zip(listed, why, strict=True))
    return Classified(
        predictions, failed, named, backbone.spec.name, method, score, threshold, {"fit": fit, **seconds},
        encoded, table=shown, languages=backbone.spec.languages,
    )  # fmt: skip


def scored(
    fitted: FittedClassifier, photos: Samples[Any], backbone: Backbone, run: Run, what: str = "photos"
) -> tuple[Samples[Any], tuple[UnreadableItem, ...], Scores, dict[str, float], int]:
    """Return the readable photos, why others are not, the scores, seconds of "encode" and "predict", and how many
    photos were encoded, which others were before.

    Raises:
        DataError: no sample can be read.
    """
    before, start = run.tally["encoded"], time.perf_counter()
    readable = embed_readable(backbone.image, photos, run).some(what)
    encoded, middle = run.tally["encoded"] - before, time.perf_counter()
    items = readable.of(photos)
    scores = fitted.checked_scores(items, run)
    seconds = {"encode": middle - start, "predict": time.perf_counter() - middle}
    return items, tuple(readable.failed), scores, seconds, encoded


def check_request(photos: Samples[Any], top: int, threshold: float | None, reasons: int) -> None:
    """Refuse to classify no photos, and numbers outside their ranges; see ``classify``."""
    if reasons < 0:
        raise UsageError(f"reasons must be 0, which asks for none, or more, got {reasons}.")
    _check_shown(top, threshold)
    need_photos(photos)


def _check_shown(top: int, threshold: float | None) -> None:
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold must be in [0, 1], got {threshold:g}: it is a probability.")


def check_unlabelled(system: Classifier, *, texts: bool = False) -> None:
    """Refuse a system that class names, and perhaps texts, are not enough for.

    Raises:
        UsageError: it learns from labelled photos, or it reads no texts.
    """
    needs, slug = system.card.needs, system.card.slug
    if "train" in needs.evidence:
        raise UsageError(
            f"{slug} learns from photos with labels: run 'diptych board classify DATA --export {slug}', and give its "
            f"folder with {{classifier}} (in Python diptych.systems.{type(system).__name__}().fit(model, "
            f"data['train']))."
        )
    if texts and "texts" not in (*needs.evidence, *needs.optional):
        *others, last = _readers()
        raise UsageError(
            f"{slug} reads no descriptions: give {{method}} {', '.join(others)} or {last}, or leave out {{texts}}."
        )


def _readers() -> list[str]:
    """Return the slugs of the classifiers that texts and names are enough for."""
    readers = [c for c in catalog.cards() if c["verb"] == Classifier.verb and "texts" in c["needs"]["evidence"]]
    return [c["slug"] for c in readers if not {"train", "unlabelled"} & set(c["needs"]["evidence"])]


def check_reasons(fitted: FittedClassifier, n: int, slug: str) -> None:
    """Refuse to ask a system for reasons that has none, before anything is encoded.

    Raises:
        UsageError: n is above 0, and the system of this slug gives no reasons.
    """
    if n and type(fitted).explain is FittedClassifier.explain:
        *others, last = catalog.offering("reasons")
        raise UsageError(f"{slug} gives no reasons: use {', '.join(others)} or {last}.")


def reasons_of(
    fitted: FittedClassifier, items: Samples[Any], run: Run, n: int
) -> list[tuple[tuple[str, float], ...] | None]:
    """Return the n strongest reasons of each item for its first class; None for each where n is 0."""
    if not n:
        return [None] * len(items)
    return [tuple((r.text, r.weight) for r in reasons[:n]) for reasons in fitted.explain(items, run)]
