"""Where fitted systems are asked outside their own test set, and what they hit there, kept beside their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import ClassNames, Evidence, FittedClassifier, MissingEvidence, MissingHook, Run, Table, TextPool
from diptych.data.words.pools import VERSUS, Pool
from diptych.evaluation.few_shot.plan import Job
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.kept import read_arrays, write_arrays
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.schedule import failure

BASE, NEW, CROSS, SHIFT = "base", "new", "cross", "shift"
Hits = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where fitted systems are measured.

    Args:
        kind: "base", "new", "cross" or "shift".
        table: readable items whose labels count ``classes``.
        classes: names; None: those that the system was fitted on.
        texts: descriptions of ``classes``; None: the pool of the data set that systems are fitted on.
    """

    kind: str
    name: str
    table: Table[Any]
    classes: ClassNames | None = None
    texts: Pool | None = None

    @property
    def title(self) -> str:
        """What no other place is called."""
        return f"{self.kind} {self.name}"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of items, labels and classes."""
        keys = "".join(self.table.items.key(i) for i in range(len(self.table)))
        return hashlib.sha256((keys + repr(self.classes) + repr(self.table.labels().tolist())).encode()).hexdigest()


def measure(desk: Desk, job: Job, places: Sequence[Place], missing: dict[str, str]) -> dict[str, Hits]:
    """Return title of a place -> (N,) hits of one run; what lies in its file is not asked again."""
    path = desk.path(job)
    held = _load(path) if path else {}
    fits = Fits(desk, job, next((p.classes for p in places if p.kind == NEW), None))
    hits_of: dict[str, Hits] = {}
    fresh = False
    for place in places:
        called = f"{job.label}, {place.kind if place.kind in (BASE, NEW) else place.title}"
        key = fits.key(place)
        try:
            if key not in held:
                held[key] = fits.reach(place)
                fresh = True
        except Exception as error:  # one system's fault must not cost the user the other rows
            missing[f"{called}, seed {job.seed}"] = failure(error)
        else:
            entry = held[key]
            if isinstance(entry, str):
                missing[called] = entry
            else:
                hits_of[place.title] = entry
    if path and fresh:
        write_arrays(path.with_suffix(".hits.npz"), held)
    return hits_of


@dataclass
class Fits:
    """The fits of one run, each made when a place first asks for it; what stopped one stops it wherever it is asked.

    Args:
        desk: with the data that systems are fitted on.
        job: system, shots and seed.
        new: names of the new classes, for systems that read them while they learn; None: there are none.
        fits: whether as ``transferable`` says -> the fit, or what stopped it.
    """

    desk: Desk
    job: Job
    new: ClassNames | None = None
    fits: dict[bool, FittedClassifier | Exception] = field(default_factory=dict)

    def key(self, place: Place) -> str:
        """Return what names the result of a place: all that decides it and is not in the name of the run's file."""
        others = self.new if self._reads("other_classes") else None
        pool = place.texts.hash if place.texts and self._reads("texts") else ""
        return f"{place.title}\t{hashlib.sha256(repr((place.hash, others, pool)).encode()).hexdigest()[:16]}"

    def reach(self, place: Place) -> Hits | str:
        """Return the (N,) hits in a place, or why this system, on this data, can have none there.

        Raises:
            DiptychError: it has none this time: an extra is missing, a training diverged, a name is too long.
        """
        try:
            scores = self._speaker(place).checked_scores(place.table.items, self._run)
        except (MissingHook, MissingEvidence) as error:
            return str(error)
        return Outcome.of(scores, self.desk.backbone, place.table.labels()).correct.astype(np.float64)

    @property
    def _run(self) -> Run:
        return replace(self.desk.run, seed=self.job.seed)

    def _reads(self, name: str) -> bool:
        needs = self.job.method.card.needs
        return name in (*needs.evidence, *needs.optional)

    def _speaker(self, place: Place) -> FittedClassifier:
        """Return a fitted system for the classes of a place.

        A system that saw labels is carried over to them; one that sees none is fitted again.
        """
        if place.classes is None or self.job.shots:
            fitted = self._fitted(place.kind != SHIFT and self.job.method.transferable() != self.job.method)
            return fitted if place.classes is None else fitted.for_classes(place.classes)
        if "unlabelled" in self.job.method.card.needs.evidence:
            raise MissingEvidence(
                f"This system learns from photos without labels, and those of {self.desk.data.name} are not of the "
                "classes measured here: fit it on photos that are, with 'diptych board classify'."
            )
        other = replace(self.desk, classes=place.classes, texts=place.texts or self.desk.texts)
        return other.fit(self.job, self._evidence(other, None), self._run)

    def _fitted(self, moved: bool) -> FittedClassifier:
        """Return the fit to the desk's own classes, as ``transferable`` says if it is moved."""
        if moved not in self.fits:
            try:
                job = replace(self.job, method=self.job.method.transferable()) if moved else self.job
                evidence = self._evidence(self.desk, self.new if self._reads("other_classes") else None)
                self.fits[moved] = self.desk.fit(job, evidence, self._run)
            except Exception as error:
                self.fits[moved] = error
        fit = self.fits[moved]
        if isinstance(fit, Exception):
            raise fit
        return fit

    def _evidence(self, desk: Desk, others: ClassNames | None) -> Evidence[Any]:
        """Return all that a fit to the classes of the desk may see: of texts, those about these classes alone."""
        given = desk.evidence(self.job, desk.drawn(self.job, self._run) if self.job.shots else None)
        if given.texts is not None:
            names = set(desk.classes)
            given = replace(
                given, texts=TextPool({k: v for k, v in given.texts.texts.items() if names.issuperset(k.split(VERSUS))})
            )
        return replace(given, other_classes=others)


def _load(path: Path) -> dict[str, Hits | str]:
    """Return what the file of a run holds: key of a place -> (N,) hits, or why not; nothing where it is damaged."""
    try:
        arrays = read_arrays(path.with_suffix(".hits.npz"))
    except Exception:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...: the run is made again
        return {}
    return {key: str(a) if a.dtype.kind == "U" else a.astype(np.float64) for key, a in arrays.items()}
