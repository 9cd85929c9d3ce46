"""Do these descriptions help? The same system with its own texts, with those of other classes, and with random words.

A text can raise accuracy for reasons that have nothing to do with what it says: more prompts average better than one,
whatever they say (Roth et al. 2023, "Waffling around for Performance"). So texts help only where they beat the plain
names AND random words of the same length AND the texts of other classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table, TextPool
from diptych.core.errors import DiptychError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.files import plain
from diptych.data.labelled import LabelledData
from diptych.data.pools import Pool
from diptych.data.templates import ENSEMBLE
from diptych.evaluation.few_shot.episodes import episode, measured, readable
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.proofs.texts import random_texts, swapped_texts
from diptych.metrics.interval import Interval, bootstrap_mean, paired_bootstrap, paired_p
from diptych.metrics.significance import holm
from diptych.tasks.classify import with_store
from diptych.tasks.record import circumstances

OWN, NAMES, SWAPPED, RANDOM = "own texts", "names only", "texts of other classes", "random words"
LEVEL = 0.05


@dataclass(frozen=True)
class Against:
    """The own texts compared with something else.

    Args:
        other: what it is.
        accuracy: top-1 of the other, with its interval.
        gain: of the own texts over it.
        p: two-sided, corrected by Holm over the comparisons of the system.
    """

    other: str
    accuracy: Interval
    gain: Interval
    p: float

    @property
    def better(self) -> bool:
        """Whether the own texts are better, beyond chance."""
        return self.gain.value > 0 and self.p < LEVEL


@dataclass(frozen=True)
class Ablated:
    """One system.

    Args:
        label, method, variant: which.
        accuracy: with its own texts.
        against: names only, texts of other classes, random words.
    """

    label: str
    method: str
    variant: str
    accuracy: Interval
    against: tuple[Against, ...]

    @property
    def verdict(self) -> str:
        """One sentence."""
        better = {a.other for a in self.against if a.better}
        if len(better) == len(self.against):
            return "These descriptions help: they beat the names, other classes' texts and random words."
        if NAMES in better:
            equal = " and ".join(a.other for a in self.against if a.other not in better)
            return (
                f"The gain over the names is not shown to come from what these descriptions say: {equal} do about as "
                "well."
            )
        worse = next((a for a in self.against if a.other == NAMES and a.gain.value < 0 and a.p < LEVEL), None)
        return (
            "These descriptions hurt: the names alone are better."
            if worse
            else "These descriptions are not shown to help."
        )


@dataclass(frozen=True)
class Ablation:
    """The answer for one data set and one pool.

    Args:
        rows: one a system and variant.
        missing: row label -> why it could not run.
        facts: data, pool, backbone, protocol, versions.
    """

    rows: tuple[Ablated, ...]
    missing: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [
            {
                **{name: getattr(row, name) for name in ("label", "method", "variant", "verdict")},
                "acc1": _plain(row.accuracy),
                "against": [
                    {
                        "other": a.other,
                        "acc1": _plain(a.accuracy),
                        "gain": _plain(a.gain),
                        "p_holm": a.p,
                        "better": a.better,
                    }
                    for a in row.against
                ],
            }
            for row in self.rows
        ]
        found: dict[str, Any] = plain({"kind": "ablation", **self.facts, "rows": rows, "missing": self.missing})
        return found


def ablate(
    data: LabelledData,
    pool: Pool,
    backbone: Backbone,
    run: Run,
    *,
    methods: Sequence[str] | None = None,
    classes: ClassNames | None = None,
    shots: int = 16,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    command: str = "",
) -> Ablation:
    """Measure systems that read texts with the pool, and with two pools that say nothing about the classes.

    Args:
        data: with test (or val); with train for systems that learn too.
        pool: descriptions of the classes.
        backbone: for all.
        run: device, cache and progress.
        methods: slugs; None: all classifiers that need texts.
        classes: names and templates; None: tidied folder names in the ensemble of seven templates.
        shots: train items a class, for systems that learn.
        seeds: of draws, swaps and random words.
        command: the command line that repeats it.

    Raises:
        UsageError: no seed, another number of names than classes, or a method that reads no texts.
        DataError: nothing can be measured.
    """
    if not seeds:
        raise UsageError("Give at least one seed, such as 1,2,3,4,5.")
    names = classes or ClassNames(tuple(tidy(c) for c in data.classes) or ("",), tuple(ENSEMBLE))
    if len(names) != len(data.classes):
        raise UsageError(f"There are {len(names)} names for {len(data.classes)} classes: give one name a class.")
    readers = [c["slug"] for c in catalog.cards() if c["verb"] == "classify" and "texts" in c["needs"]["evidence"]]
    for slug in methods or ():
        if slug not in readers:
            raise UsageError(f"{slug} does not live on descriptions: choose from {', '.join(readers)}.")
    rows: list[Ablated] = []
    missing: dict[str, str] = {}
    with with_store(run) as stored:
        test, failed = readable(data.splits[measured(data)], backbone, stored)
        bench = _Bench(data, test, names, backbone, stored, tuple(seeds), shots)
        plan = [(slug, variant) for slug in (methods or readers) for variant in catalog.find(slug).card.variants]
        with stored.track("ablate", len(plan)) as bar:
            for slug, variant in plan:
                card = catalog.find(slug).card
                label = f"{card.name}, {variant}" if variant else card.name
                try:
                    rows.append(bench.row(label, slug, variant, pool))
                except DiptychError as error:
                    missing[label] = str(error)
                bar.advance()
    facts = {
        "dataset": data.name,
        "items": len(test),
        "classes": names.names,
        "texts": pool.as_dict(),
        "shots": shots,
        "seeds": list(seeds),
        **circumstances(backbone, run, command),
        "skipped": [str(e) for e in failed],
    }
    return Ablation(tuple(rows), missing, facts)


@dataclass(frozen=True)
class _Bench:
    """One data set: what each system hits with which texts."""

    data: LabelledData
    test: Table[Any]
    classes: ClassNames
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    shots: int

    def row(self, label: str, slug: str, variant: str, pool: Pool) -> Ablated:
        own = self.hits(slug, variant, pool.texts)
        seed = self.run.integer("bootstrap")
        others = {NAMES: self.hits("zero-shot", "ensemble", None)}
        for name in (SWAPPED, RANDOM):
            others[name] = self.hits(slug, variant, pool.texts, name)
        adjusted = holm([paired_p(own, other, seed) for other in others.values()])
        against = tuple(
            Against(name, bootstrap_mean(other, seed), paired_bootstrap(own, other, seed), p)
            for (name, other), p in zip(others.items(), adjusted, strict=True)
        )
        return Ablated(label, slug, variant, bootstrap_mean(own, seed), against)

    def hits(self, slug: str, variant: str, texts: TextPool | None, spoiled: str = "") -> NDArray[np.float64]:
        """Return (seeds, items) hits."""
        system = catalog.find(slug)
        if not issubclass(system, Classifier):
            raise UsageError(f"{slug} is no classifier.")
        method = system(**system.card.variants[variant])
        rows = []
        for seed in self.seeds:
            run = replace(self.run, seed=seed)
            evidence: Evidence[Any] = Evidence(texts=texts)
            if "train" in system.card.needs.evidence:
                drawn = episode(self.data, self.shots, run.integer("shots"), "coop", self.backbone, run)
                evidence = replace(evidence, train=drawn.train, val=drawn.val)
            if spoiled == SWAPPED and texts is not None:
                evidence = replace(evidence, texts=swapped_texts(self.classes, texts, run))
            elif spoiled == RANDOM and texts is not None:
                evidence = replace(evidence, texts=random_texts(texts, run.integer("random words")))
            fitted = method.fit(Kit({"main": self.backbone}), self.classes, evidence, run)
            rows.append(
                Outcome.of(fitted.scores(self.test.items, run), self.backbone, self.test.labels()).correct.astype(
                    np.float64
                )
            )
            if slug == "zero-shot":
                return np.broadcast_to(rows[0], (len(self.seeds), len(self.test)))
        return np.stack(rows)


@cache
def _plain(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "ci95": [interval.low, interval.high]}
