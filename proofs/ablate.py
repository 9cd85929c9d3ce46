"""Do these descriptions help? The same system with its own texts, with those of other classes, and with random words.

A text can raise accuracy for reasons that have nothing to do with what it says: more prompts average better than one,
whatever they say (Roth et al. 2023, "Waffling around for Performance"). So texts help only where they beat the plain
names AND random words of the same length AND the texts of other classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diptych import catalog
from diptych.core import Backbone, ClassNames, Evidence, Run, UsageError
from diptych.data.files import plain
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import Pool
from diptych.evaluation.arms import Arm
from diptych.evaluation.schedule import work
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import bootstrap_mean, paired_bootstrap, paired_p
from diptych.metrics.significance import holm
from diptych.tasks.classify import with_store
from diptych.tasks.record import circumstances
from proofs.benches.classifiers import ClassifyBench
from proofs.text_spoils import random_texts, swapped_texts

OWN, NAMES, SWAPPED, RANDOM = "own texts", "names only", "texts of other classes", "random words"
LEVEL = 0.05


@dataclass(frozen=True)
class Against:
    """The own texts compared with something else.

    Args:
        accuracy: top-1 of the other, with its interval.
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
        missing: row label -> why it could not run.
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
        return plain({"kind": "ablation", **self.facts, "rows": rows, "missing": self.missing})


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
        shots: train items per class, for systems that learn.
        seeds: of draws, swaps and random words.
        command: the command line that repeats it.

    Raises:
        UsageError: no seed, another number of names than classes, or a method that reads no texts.
        DataError: nothing can be measured.
    """
    if not seeds:
        raise UsageError("Give at least one seed, such as 1,2,3,4,5.")
    readers = [c["slug"] for c in catalog.cards() if c["verb"] == "classify" and "texts" in c["needs"]["evidence"]]
    for slug in methods or ():
        if slug not in readers:
            raise UsageError(f"{slug} does not live on descriptions: choose from {', '.join(readers)}.")
    with with_store(run) as stored:
        bench = ClassifyBench.open(data, backbone, stored, tuple(seeds), val="coop", classes=classes, texts=pool)
        arms = [Arm(slug, row, shots) for slug in (methods or readers) for row in catalog.find(slug).card.variants]
        worked = work(arms, lambda arm: _ablated(bench, arm), stored, label=_label)
        if worked.interrupted:
            raise KeyboardInterrupt
    facts = {
        "dataset": data.name,
        "items": bench.facts["items"],
        "classes": bench.desk.classes.names,
        "texts": pool.as_dict(),
        "shots": shots,
        "seeds": list(seeds),
        **circumstances(backbone, run, command),
        "skipped": [str(e) for e in bench.failed],
    }
    return Ablation(tuple(row for _, row, _ in worked.done), worked.missing, facts)


def _label(arm: Arm) -> str:
    name = catalog.find(arm.system).card.name
    return f"{name}, {arm.variant}" if arm.variant else name


def _ablated(bench: ClassifyBench, arm: Arm) -> Ablated:
    seed = bench.run.integer("bootstrap")
    plans = {
        NAMES: Arm("zero-shot", "ensemble"),
        SWAPPED: replace(arm, spoil=_swapped),
        RANDOM: replace(arm, spoil=_random),
    }
    measured, others = bench.measure(arm).values, {name: bench.measure(other).values for name, other in plans.items()}
    adjusted = holm([paired_p(measured, other, seed) for other in others.values()])
    against = tuple(
        Against(name, bootstrap_mean(other, seed), paired_bootstrap(measured, other, seed), p)
        for (name, other), p in zip(others.items(), adjusted, strict=True)
    )
    return Ablated(_label(arm), arm.system, arm.variant, bootstrap_mean(measured, seed), against)


def _swapped(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    texts = evidence.texts and swapped_texts(classes, evidence.texts, run)
    return classes, replace(evidence, texts=texts)


def _random(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    texts = evidence.texts and random_texts(evidence.texts, run.integer("random words"))
    return classes, replace(evidence, texts=texts)


def _plain(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "ci95": [interval.low, interval.high]}
