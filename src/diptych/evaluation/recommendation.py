"""Which classifier to try on labelled photos: the quick ones are compared by cross-validation, apart from test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    DataError,
    DiptychError,
    Evidence,
    Kit,
    Run,
    Table,
    UnreadableItem,
)
from diptych.core.run import silent
from diptych.core.wording import number_of
from diptych.data.labelled import LabelledData
from diptych.data.splits import few_shot
from diptych.evaluation.few_shot.episodes import readable
from diptych.evaluation.few_shot.gains import BASE
from diptych.evaluation.few_shot.inputs import trains_by_steps
from diptych.evaluation.few_shot.plan import FIXED
from diptych.evaluation.few_shot.unlabelled import key_of
from diptych.features.heads import text_head
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import paired_bootstrap
from diptych.metrics.selection import gain_of_the_best
from diptych.metrics.two_way import item_mean

VAL = 4
"""Photos per class, at most, on which systems choose their settings, as in the few-shot protocol of the field."""


@dataclass(frozen=True)
class Candidate:
    """A system on photos that it was not fitted on.

    Args:
        system: its slug, and the row of its card behind a comma where there are several.
        accuracy: top-1 over all folds, with its interval over photos.
        gain: over class names alone, the zero-shot ensemble; None for that row itself.
        seconds: of one fit, the mean over the folds.
        correct: (N,) whether each photo is named right.
    """

    system: str
    accuracy: Interval
    gain: Interval | None
    seconds: float
    correct: NDArray[np.bool_] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data; accuracies and gains as fractions."""
        return {
            "system": self.system,
            "acc1": self.accuracy.value,
            "ci95": [self.accuracy.low, self.accuracy.high],
            "gain": None if self.gain is None else self.gain.value,
            "gain_ci95": None if self.gain is None else [self.gain.low, self.gain.high],
            "fit_seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Recommendation:
    """What was measured, and what follows from it.

    Args:
        candidates: class names alone first, then the others, the best first.
        expected: gain of the best over class names alone, without what chance added because it is the highest of all.
        doubling: gain of the best over itself with half of the labelled photos; None where it is class names alone.
        missing: system -> why it could not be fitted.
        photos, folds: how many were used; ``fewest`` and ``largest``: photos of the smallest and the largest class.
        failed: pictures that cannot be read; ``repeated``: photos left out, for they show what another one does.
    """

    candidates: tuple[Candidate, ...]
    expected: Interval
    doubling: Interval | None
    missing: dict[str, str]
    photos: int
    folds: int
    fewest: int
    largest: int
    failed: tuple[UnreadableItem, ...]
    repeated: int

    @property
    def best(self) -> Candidate:
        """The system that is right most often; of equal ones, class names alone."""
        return max(self.candidates, key=lambda c: c.accuracy.value)

    @property
    def better(self) -> bool:
        """Whether the best is better than class names alone for certain."""
        return self.best.gain is not None and self.expected.low > 0


def quick_systems(slugs: Sequence[str] = ()) -> list[tuple[str, Classifier]]:
    """Return (label, system) of class names alone and of the classifiers that learn from labelled photos in seconds; or
    of class names alone and those that are named.

    Raises:
        UsageError: an unknown system, or no classifier.
    """
    rows = [*_rows("zero-shot")]
    for slug in slugs or tuple(card["slug"] for card in catalog.cards() if card["verb"] == "classify"):
        system = catalog.find(slug, Classifier)
        card = system.card
        alone = "train" in card.needs.evidence and set(card.needs.evidence) <= {"train", "val"}
        quick = alone and not card.slow and not trains_by_steps(system)
        if (slugs or quick) and slug != "zero-shot":
            rows += list(_rows(slug))[: None if slugs else 1]
    return sorted(rows, key=lambda row: row[0] != ", ".join(BASE))


def _rows(slug: str) -> Iterator[tuple[str, Classifier]]:
    system = catalog.find(slug, Classifier)
    for variant in (row for row in system.card.variants if row != FIXED):
        yield ", ".join(part for part in (slug, variant) if part), catalog.row(system, variant)


def recommend(
    data: LabelledData,
    backbone: Backbone,
    classes: ClassNames,
    run: Run,
    *,
    systems: Sequence[tuple[str, Classifier]] = (),
    folds: int = 5,
    most: int = 50,
) -> Recommendation:
    """Compare quick classifiers on labelled photos, each photo named by a system that was fitted without it.

    Args:
        data: with labels. Of several splits train and val are used, and test is not looked at.
        backbone: for all systems.
        classes: names and templates.
        run: device, cache, progress and the seed of the folds.
        systems: (label, system), class names alone first; (): ``quick_systems()``.
        folds: at least 2.
        most: photos per class, drawn by the seed.

    Raises:
        DataError: a class has one photo alone, or none can be read.
    """
    table = drawn_part(data, most, run)
    table, failed = readable(table, backbone, run)
    table, repeated = _unlike(table)
    labels = np.asarray(table.labels())
    counts = np.bincount(labels, minlength=len(classes))
    if (counts < 2).any():
        name, count = classes.names[int((counts < 2).argmax())], int(counts[int((counts < 2).argmax())])
        raise DataError(
            f"{name!r} has {number_of(count, 'labelled photo')}, and a comparison needs 2 of each class, "
            f"one to fit on and one to name: label more, or leave the class out."
        )
    text_head(backbone, classes.prompts(), run)  # encoded before the first fit is timed
    parts = list(_folds(labels, folds, run.integer("folds")))
    desk = _Desk(table, labels, parts, backbone, classes, replace(run, progress=silent))
    every = dict(systems or quick_systems())
    measured, missing = dict[str, tuple[NDArray[np.bool_], float]](), dict[str, str]()
    with run.track("systems", len(every)) as bar:
        for label, system in every.items():
            try:
                measured[label] = desk.named_right(system)
            except DiptychError as error:
                missing[label] = str(error)
            bar.advance()
    plain = ", ".join(BASE)
    if plain not in measured:
        raise DataError(f"Class names alone cannot be measured, and all gains are over them: {missing[plain]}")
    base, seed = measured[plain][0], run.integer("bootstrap")
    candidates = [
        Candidate(
            label,
            item_mean(right),
            None if label == plain else paired_bootstrap(right[None], base[None], seed),
            spent,
            right,
        )
        for label, (right, spent) in measured.items()
    ]
    candidates[1:] = sorted(candidates[1:], key=lambda c: -c.accuracy.value)
    best = max(candidates, key=lambda c: c.accuracy.value)
    doubling = None
    if best.gain is not None:
        half, _ = desk.named_right(every[best.system], half=True)
        doubling = paired_bootstrap(best.correct[None], half[None], seed)
    expected = gain_of_the_best(np.stack([c.correct for c in candidates]), seed=seed)
    return Recommendation(
        tuple(candidates), expected, doubling, missing, len(table), len(desk.parts), int(counts.min()),
        int(counts.max()), tuple(failed), repeated,
    )  # fmt: skip


def drawn_part(data: LabelledData, most: int, run: Run) -> Table[Any]:
    """Return the labelled photos that a choice may see, of train and val or of the one split that there is: at most so
    many of each class, drawn by the seed of the run before any is read.
    """
    names = [name for name in ("train", "val") if name in data.splits] or list(data.splits)[:1]
    table = replace(data, splits={name: data.splits[name] for name in names}).whole()
    chosen = np.sort(few_shot(table.labels(), most, run.integer("photos")))
    return table.take([int(i) for i in chosen])


def as_evidence(system: Classifier, table: Table[Any]) -> Evidence[Any]:
    """Return labelled photos as a system reads them: those on which it chooses settings are taken from the others.

    They are the first of each class, a quarter and at most ``VAL``; of a class of one photo none. Where all classes
    have one, the choice is made on what was learnt.
    """
    needs, labels = system.card.needs, np.asarray(table.labels())
    reads = (*needs.evidence, *needs.optional)
    if "train" not in reads:
        return Evidence()
    if "val" not in reads:
        return Evidence(train=table)
    chosen: list[int] = []
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        chosen += rows[: min(VAL, max(len(rows) // 4, int(len(rows) > 1)))].tolist()
    others = sorted(set(range(len(table))) - set(chosen))
    return Evidence(train=table.take(others), val=table.take(sorted(chosen)) if chosen else table)


def _unlike(table: Table[Any]) -> tuple[Table[Any], int]:
    """Return the table without photos whose content another one has, which a fold could learn by heart."""
    first: dict[str, int] = {}
    for i in range(len(table)):
        first.setdefault(key_of(table.items, i), i)
    return table.take(list(first.values())), len(table) - len(first)


def _folds(labels: NDArray[np.int64], folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (photos to fit on, photos to name); each photo is named once, and each class is always fitted on."""
    place = np.empty(len(labels), dtype=np.int64)
    drawn = few_shot(labels, len(labels), seed)  # class by class
    place[drawn] = np.arange(len(labels)) % folds
    for fold in np.unique(place):
        yield np.flatnonzero(place != fold), np.flatnonzero(place == fold)


@dataclass(frozen=True)
class _Desk:
    """What all systems are measured on."""

    table: Table[Any]
    labels: NDArray[np.int64]
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    backbone: Backbone
    classes: ClassNames
    run: Run

    def named_right(self, system: Classifier, *, half: bool = False) -> tuple[NDArray[np.bool_], float]:
        """Return (N,) whether each photo is named right by a system fitted on other folds, and the seconds of one fit.

        Args:
            system: to be fitted.
            half: on every second photo of each class alone, the first one of each at least.
        """
        right, seconds = np.zeros(len(self.labels), dtype=np.bool_), 0.0
        for fit_on, name in self.parts:
            rows = fit_on
            if half:
                few = [self._of_class(fit_on, k)[::2] for k in np.unique(self.labels)]
                rows = np.concatenate(few)
            start = time.perf_counter()
            fitted = system.fit(
                Kit({"main": self.backbone}), self.classes, as_evidence(system, self._some(rows)), self.run
            )
            seconds += time.perf_counter() - start
            ranked = fitted.checked_scores(self._some(name).items, self.run).ranked().numpy()
            right[name] = ranked.argmax(axis=1) == self.labels[name]
        return right, seconds / len(self.parts)

    def _of_class(self, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        return np.asarray(rows[self.labels[rows] == k])

    def _some(self, rows: NDArray[np.int64]) -> Table[Any]:
        return self.table.take([int(i) for i in rows])
