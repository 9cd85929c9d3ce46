"""A proof as data: claims that must show, controls that must fail, and what is measured beside them.

Every proof is a ``Trial``: it opens a bench, and compares arms on it. What was measured becomes the plain data of
``results/<slug>.json`` here and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core import Backbone, Run, Samples, UnreadableItem
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Bench, Loaded, Measured, Statistic

K = TypeVar("K")
Hits = NDArray[np.float64]
"""(seeds, N) values of N items, such as 1.0 where a system was right."""
Opener: TypeAlias = Callable[[str, Backbone, Run, tuple[int, ...]], Bench]
"""(name of the data set, backbone of all arms, run, seeds of draws, spoils and trainings) -> bench.

It raises NotAvailable where the data are not on this machine. Further arguments make it smaller in tests.
"""


ROUNDING = 1e-9
"""Bounds up to this are 0: the mean of equal sums of hits may be off by the last bit of a float."""
CLOCKS = frozenset({"fit_seconds", "images_a_second", "train_seconds"})
"""Numbers beside a metric that no second run repeats: boards show them, proofs do not write them."""


@dataclass(frozen=True)
class Claim:
    """One gain: that of the proved system over a baseline, unless both are given.

    Args:
        over: what the baseline is called: its slug, or ``CHANCE``.
        shots: train items per class; 0 for systems that see none.
        variant: row of the baseline's card; None: its default.
        arm: what must gain; None: the proved system.
        base: what it is compared with; None: ``over`` at these shots.
        less: what is taken away from both sides first: a gain of one gain over another; None: nothing is.
        part: of what was measured, see ``Measured.parts``; "" is the whole.
        on: data sets on which it is made; (): on all.
        name: of a control or twin, where there are several.
    """

    over: str
    shots: int = 0
    variant: str | None = None
    arm: Arm | None = None
    base: Arm | None = None
    less: tuple[Arm, Arm] | None = None
    part: str = ""
    on: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Trial:
    """The proof of one system.

    Args:
        claims: all must show.
        spoil: what the control has wrong, or name -> that; it must not gain over ``control_over`` at the shots of any
            claim. None: there is no such control.
        control_over: slug, or ``CHANCE``.
        variant: row of the card that is proved.
        control_variant: row of the card of ``control_over``; None: its default.
        beside: name -> a twin that is measured and reported, but need not be worse: the same system spoiled, an arm of
            its own, or a whole comparison.
        controls: further comparisons that must not show.
        arm: the proved arm, where it is no row of the card.
        bench: opens the bench; it is the same for all proofs of a verb that measure alike.
    """

    claims: tuple[Claim, ...]
    spoil: Any = None
    control_over: str = CHANCE
    variant: str = ""
    control_variant: str | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    controls: tuple[Claim, ...] = ()
    arm: Arm | None = None
    bench: Opener | None = None

    def proved(self, slug: str) -> list[Arm]:
        """Return the arms of the proved system as its claims have them."""
        return [self._arm(slug, claim) for claim in self.claims if claim.arm is None]

    def judge(self, slug: str, name: str, bench: Bench, loaded: Loaded | None = None) -> dict[str, Any]:
        """Measure on a bench, and return its facts with "claims", "controls" and "beside", as plain data.

        Each of them names what it is measured "over", its "variant", "shots", "gain" and "gain_lower95"; a claim holds
        "method" and "baseline", each with the metric and its interval, and "shown"; a control holds "control" and
        "failed"; a twin holds "name" and "twin". Where a part is compared, "what" is its name, and its value stands
        under that name in the place of the metric's. A bench that only counted has none of the three.

        Args:
            slug: of the system.
            name: of the data set.
            bench: on which all arms are measured.
            loaded: what stands in the place of the proved fit, see ``proofs.loaded``; None: the system is fitted.
        """
        proved = self.proved(slug)
        facts = {k: v for k, v in bench.facts.items() if k not in ("dataset", "templates")}
        facts |= {"proved_variant": self.variant} if self.variant else {}
        if isinstance(facts.get("classes"), list):
            facts["classes"] = len(facts["classes"])
        known: list[tuple[Arm, Measured]] = []

        def measured(arm: Arm) -> Measured:
            """Measure an arm once; systems are compared by their settings, for not all can be hashed."""
            for other, result in known:
                if other == arm:
                    return result
            known.append((arm, bench.measure(replace(arm, loaded=loaded) if loaded and arm in proved else arm)))
            return known[-1][1]

        def side(result: Measured, claim: Claim) -> dict[str, Any]:
            x, seed, of, gain = result.values, bench.run.integer("bootstrap"), bench.statistic.of, bench.statistic.gain
            interval = gain(x, np.zeros_like(x), seed) if claim.less else of(x, seed)  # a difference is no share
            others = {k: v for k, v in result.others.items() if k not in CLOCKS}
            return {**others, claim.part or bench.metric: interval.value, "ci95": [interval.low, interval.high]}

        def compared(claim: Claim) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
            sides = [measured(arm) for arm in (self._arm(slug, claim), self._base(claim))]
            if claim.less:
                sides = [minus(one, measured(less)) for one, less in zip(sides, claim.less, strict=True)]
            subject, base = (one.part(claim.part) for one in sides)
            assert bench.statistic.lower is not None, "this bench is of boards alone"
            gain = bench.statistic.lower(subject.values, base.values, bench.run.integer("bootstrap"))
            about: dict[str, Any] = {"name": claim.name} if claim.name else {}
            about |= {"over": claim.over, "variant": claim.variant, "shots": claim.shots}
            about |= {"what": claim.part} if claim.part else {}
            return {**about, "gain": gain.value, "gain_lower95": gain.low}, side(subject, claim), side(base, claim)

        data: dict[str, Any] = {**facts, "claims": [], "controls": [], "beside": []}
        if isinstance(bench, Tabled) and not bench.table:
            return data
        for claim in _claims_on(self.claims, name):
            about, subject, base = compared(claim)
            data["claims"].append(
                {**about, "method": subject, "baseline": base, "shown": about["gain_lower95"] > ROUNDING}
            )
        for claim in _claims_on(self._controls(slug), name):
            about, subject, _ = compared(claim)
            data["controls"].append({**about, "control": subject, "failed": about["gain_lower95"] <= ROUNDING})
        for claim in _claims_on(self._beside(slug), name):
            about, subject, base = compared(claim)
            data["beside"].append({**about, "twin": base} | ({"own": subject} if claim.arm else {}))
        return data

    def _arm(self, slug: str, claim: Claim) -> Arm:
        return claim.arm or replace(self.arm or Arm(slug, self.variant), shots=claim.shots)

    @staticmethod
    def _base(claim: Claim) -> Arm:
        variant = default_variant(claim.over) if claim.variant is None else claim.variant
        return claim.base or Arm(claim.over, variant, claim.shots)

    def _shots(self) -> list[int]:
        return list(dict.fromkeys(claim.shots for claim in self.claims))

    def _controls(self, slug: str) -> Iterator[Claim]:
        spoils = self.spoil if isinstance(self.spoil, Mapping) else {"": self.spoil} if self.spoil else {}
        for name, spoil in spoils.items():
            for shots in self._shots():
                claim = Claim(self.control_over, shots, self.control_variant, name=name)
                yield replace(claim, arm=replace(self._arm(slug, claim), spoil=spoil))
        yield from self.controls

    def _beside(self, slug: str) -> Iterator[Claim]:
        for name, twin in self.beside.items():
            if isinstance(twin, Claim):
                yield replace(twin, name=name, arm=self._arm(slug, twin))
                continue
            for shots in self._shots():
                claim = Claim(slug, shots, name=name)
                base = replace(twin, shots=shots) if isinstance(twin, Arm) else None
                yield replace(claim, base=base or replace(self._arm(slug, claim), spoil=twin))


def _claims_on(claims: Sequence[Claim] | Iterator[Claim], name: str) -> list[Claim]:
    return [claim for claim in claims if not claim.on or Path(name).name in claim.on]


class PlainBench:
    """What a bench says of these where it says nothing else."""

    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()
    failed: Sequence[UnreadableItem] = ()


@dataclass(frozen=True)
class Tabled(PlainBench):
    """A bench whose arms were all measured in one pass, each under a name.

    Args:
        table: name -> (seeds, N) values; empty where items are too few for shares, and were only counted.
        others: name -> further numbers.
        parts: name -> part -> (seeds, N) values of another metric, see ``Measured.parts``.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    metric: str
    facts: Mapping[str, Any]
    table: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    statistic: Statistic = MEANS

    def measure(self, arm: Arm) -> Measured:
        """Look up what was measured."""
        parts = {part: Measured(v, {}, self.seeds) for part, v in self.parts.get(arm.system, {}).items()}
        return Measured(self.table[arm.system], self.others.get(arm.system, {}), self.seeds, parts)


def each_seed(once: Callable[[Run], Mapping[K, Any]], run: Run, seeds: Sequence[int]) -> dict[K, Any]:
    """Return name -> (seeds, ...) values of a table, where ``once`` gives those of the seed of its run."""
    results = [once(replace(run, seed=seed)) for seed in seeds]
    return {name: np.stack([one[name] for one in results]) for name in results[0]}


def over(base: str, arm: str, name: str = "", on: tuple[str, ...] = ()) -> Claim:
    """Return the gain of one name of a table over another."""
    return Claim(base, arm=Arm(arm), name=name, on=on)


def hash_of(*samples: Samples[Any]) -> str:
    """Return the SHA-256 of the keys of all items, in their order."""
    return hashlib.sha256("".join(s.key(i) for s in samples for i in range(len(s))).encode()).hexdigest()


def hash_of_words(items: Samples[Any], texts: Sequence[str], between: str = "\0") -> str:
    """Return the SHA-256 of the keys of all items, then of texts."""
    keys = [items.key(i) for i in range(len(items))]
    return hashlib.sha256(between.join([*keys, *texts]).encode()).hexdigest()


def minus(first: Measured, second: Measured) -> Measured:
    """Return one arm minus another, by seed and item; a number named as a part is the mean of that part."""
    gaps = {name: part.values - second.parts[name].values for name, part in first.parts.items() if name in second.parts}
    others = {
        name: float(gaps[name].mean()) if name in gaps else value - second.others[name]
        for name, value in first.others.items()
        if name in second.others
    }
    parts = {name: Measured(gap, others, first.seeds) for name, gap in gaps.items()}
    return Measured(first.values - second.values, others, first.seeds, parts)


def default_variant(slug: str) -> str:
    """Return the row of a card that stands for the system where none is named: "", or else "ensemble"."""
    variants = catalog.find(slug).card.variants if slug in catalog.slugs() else {}
    return next((v for v in ("", "ensemble") if v in variants), "")
