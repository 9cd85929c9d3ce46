"""``diptych prove``: does a system do what its card claims, on real photos, and does its control fail?

A claim is shown when the one-sided 95 % interval of its gain over the baseline, paired by seed and item, lies above 0:
gain in top-1 of a classifier, in mIoU of a segmenter. A
control has failed, as it must, when that interval of its gain includes 0. Fewer seeds than the card asks for (five, or
three where the field's protocol fixes three) show nothing, whatever they say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.files import plain
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.pools import Pool, pool_of
from diptych.data.templates import ENSEMBLE
from diptych.evaluation.datasets import open_set
from diptych.evaluation.few_shot.episodes import episode, measured, readable
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.proofs.audit import TRIALS as AUDIT_TRIALS
from diptych.evaluation.proofs.caption import TRIALS as CAPTION_TRIALS
from diptych.evaluation.proofs.classify import CHANCE, TRIALS, Altered, Spoil, Trial
from diptych.evaluation.proofs.curate import TRIALS as CURATE_TRIALS
from diptych.evaluation.proofs.detect import TRIALS as DETECT_TRIALS
from diptych.evaluation.proofs.edit import TRIALS as EDIT_TRIALS
from diptych.evaluation.proofs.extend import TRIALS as EXTEND_TRIALS
from diptych.evaluation.proofs.finetune import TRIALS as FINETUNE_TRIALS
from diptych.evaluation.proofs.own import Hits, OwnTrial, twin, with_interval
from diptych.evaluation.proofs.pretrain import TRIALS as PRETRAIN_TRIALS
from diptych.evaluation.proofs.retrieve import TRIALS as RETRIEVE_TRIALS
from diptych.evaluation.proofs.segment import TRIALS as SEGMENT_TRIALS
from diptych.evaluation.proofs.segment import SegmentBench, SegmentTrial
from diptych.metrics.interval import one_sided_lower
from diptych.tasks.classify import with_store
from diptych.tasks.record import circumstances

OWN_TRIALS: Mapping[str, OwnTrial] = {
    **AUDIT_TRIALS,
    **CAPTION_TRIALS,
    **CURATE_TRIALS,
    **DETECT_TRIALS,
    **EDIT_TRIALS,
    **EXTEND_TRIALS,
    **FINETUNE_TRIALS,
    **PRETRAIN_TRIALS,
    **RETRIEVE_TRIALS,
}
"""Proofs of verbs that are neither classify nor segment, each measured in its own way."""


@dataclass(frozen=True)
class Proof:
    """The result of a proof; ``as_dict`` is what ``results/<slug>.json`` holds.

    Args:
        slug: of the system.
        shown: all claims are shown and all controls have failed, on every data set, over as many seeds as the card asks
            for.
        datasets: data set -> its hash, items, claims and controls, as plain data.
        facts: everything else that the file says.
    """

    slug: str
    shown: bool
    datasets: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data: dict[str, Any] = plain(
            {"kind": "proof", "slug": self.slug, "shown": self.shown, **self.facts, "datasets": self.datasets}
        )
        return data


def prove(
    slug: str,
    backbone: Backbone,
    run: Run,
    *,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    command: str = "",
    keys: FileKeys | None = None,
) -> Proof:
    """Run the proof of one system.

    Args:
        slug: of the system; its card holds claim and control in words, ``evaluation.proofs`` in code.
        backbone: for the system and its baselines.
        run: device, cache and progress.
        datasets: see ``open_set``; None: those of the card.
        seeds: of draws, shuffles and systems.
        command: the command line that repeats the proof.
        keys: remembers content keys.

    Raises:
        UsageError: there is no such system, it has no proof, or there are fewer than three seeds.
        NotAvailable: a data set is not on this machine.
        DataError: a data set has too few items.
    """
    card = catalog.find(slug).card
    trial = TRIALS.get(slug) or SEGMENT_TRIALS.get(slug) or OWN_TRIALS.get(slug)
    if trial is None or card.proof is None:
        raise UsageError(f"{slug} has no proof yet; these have: {', '.join((*TRIALS, *SEGMENT_TRIALS, *OWN_TRIALS))}.")
    if len(set(seeds)) < 3:
        raise UsageError("A proof takes at least 3 different seeds: give more.")
    start = time.perf_counter()
    found = []
    skipped: dict[str, str] = {}
    with with_store(run) as stored:
        names = tuple(datasets or card.proof.datasets)
        with stored.track(f"prove {slug}", len(names)) as bar:
            for name in names:
                if isinstance(trial, SegmentTrial):
                    found.append(
                        {
                            "dataset": name,
                            **SegmentBench.open(open_set(name, "masks"), backbone, stored, seeds).verdict(slug, trial),
                        }
                    )
                elif not isinstance(trial, Trial):
                    found.append({"dataset": name, **trial.verdict(slug, name, backbone, stored, seeds)})
                else:
                    bench = _Bench.open(open_data(name, keys, need="classes"), backbone, stored, seeds)
                    found.append({"dataset": name, **bench.verdict(slug, trial)})
                    skipped |= bench.failed
                bar.advance()
    enough = len(set(seeds)) >= card.proof.seeds
    held = all(item["shown"] for d in found for item in d["claims"]) and all(
        item["failed"] for d in found for item in d["controls"]
    )
    shown = enough and held
    facts = {
        "name": card.name,
        "stage": card.proof.stage if shown else None,
        "claim": card.proof.claim,
        "control": card.proof.control,
        "metric": "miou" if isinstance(trial, SegmentTrial) else "acc1" if isinstance(trial, Trial) else trial.metric,
        "seeds": list(seeds),
        "seeds_needed": card.proof.seeds,
        "val": "full",
        "templates": list(ENSEMBLE),
        "seconds": round(time.perf_counter() - start, 2),
        **circumstances(backbone, run, command),
        "skipped": [f"{path}: {reason}" for path, reason in skipped.items()],
    }
    return Proof(slug, shown, found, facts)


@dataclass
class _Bench:
    """One data set with its draws, and what each system hit on it."""

    data: LabelledData
    test: Table[Any]
    classes: ClassNames
    backbone: Backbone
    run: Run
    seeds: Sequence[int]
    failed: dict[str, str]
    texts: Pool | None
    known: dict[tuple[str, str, int, Spoil | None], Hits] = field(default_factory=dict)
    drawn: dict[tuple[int, int], Evidence[Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, data: LabelledData, backbone: Backbone, run: Run, seeds: Sequence[int]) -> _Bench:
        test, failed = readable(data.splits[measured(data)], backbone, run)
        classes = ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
        return cls(data, test, classes, backbone, run, seeds, {e.name: e.reason for e in failed}, pool_of(data.name))

    def verdict(self, slug: str, trial: Trial) -> dict[str, Any]:
        """Return hash, items, claims and controls of this data set, and the twins that are measured beside them."""
        seed = self.run.integer("bootstrap")
        if trial.times_chance and (known := float(self.hits("zero-shot", 0).mean())) < trial.times_chance / len(
            self.classes
        ):
            raise DataError(
                f"Zero-shot is right on {100 * known:.1f} % of {self.data.name}, less than {trial.times_chance:g} "
                f"times chance, so there is"
                f" nothing that {slug} could learn from: name other sets with --data, or a stronger --backbone."
            )
        claims = []
        for claim in trial.claims:
            own, base = self.hits(slug, claim.shots, trial), self.hits(claim.over, claim.shots, variant=claim.variant)
            gain = one_sided_lower(own, base, seed)
            claims.append(
                {
                    "over": claim.over,
                    "variant": claim.variant,
                    "shots": claim.shots,
                    "method": with_interval("acc1", own, seed),
                    "baseline": with_interval("acc1", base, seed),
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                    "shown": gain.low > 0,
                }
            )
        controls = []
        for shots in dict.fromkeys(claim.shots for claim in trial.claims):
            own = self.hits(slug, shots, trial, spoil=trial.spoil)
            base = self.hits(trial.control_over, shots, variant=trial.control_variant)
            gain = one_sided_lower(own, base, seed)
            controls.append(
                {
                    "over": trial.control_over,
                    "variant": trial.control_variant,
                    "shots": shots,
                    "control": with_interval("acc1", own, seed),
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                    "failed": gain.low <= 0,
                }
            )
        beside = []
        for name, spoil in trial.beside.items():
            for shots in dict.fromkeys(claim.shots for claim in trial.claims):
                own, other = self.hits(slug, shots, trial), self.hits(slug, shots, trial, spoil=spoil)
                beside.append(twin(name, shots, "acc1", own, other, seed))
        return {
            "data_hash": self.data.hash,
            "items": len(self.test),
            "classes": len(self.classes),
            "texts": self.texts.as_dict() if self.texts else None,
            "claims": claims,
            "controls": controls,
            "beside": beside,
        }

    def hits(
        self,
        slug: str,
        shots: int,
        trial: Trial | None = None,
        *,
        variant: str | None = None,
        spoil: Spoil | None = None,
    ) -> Hits:
        """Return (seeds, items) hits of a system, or the expected hits of chance."""
        if slug == CHANCE:
            return np.full((len(self.seeds), len(self.test)), 1 / len(self.classes))
        system = catalog.find(slug)
        if not issubclass(system, Classifier):
            raise UsageError(f"{slug} is no classifier.")
        if variant is None:
            variant = (
                trial.variant if trial else next(iter(v for v in ("", "ensemble") if v in system.card.variants), "")
            )
        needs = system.card.needs
        pool = self.texts if "texts" in (*needs.evidence, *needs.optional) else None
        learns = "train" in needs.evidence
        unlabelled = self.data.split("train").items if "unlabelled" in needs.evidence else None
        place = (slug, variant, shots if learns else 0, spoil)
        if place not in self.known:
            method = system(**system.card.variants.get(variant, {}))
            rows = []
            for seed in self.seeds:
                run = replace(self.run, seed=seed)
                classes, evidence = self.classes, self.evidence(shots, run) if learns else Evidence()
                evidence = replace(evidence, texts=pool.texts if pool else None, unlabelled=unlabelled)
                chosen = spoil.change(method, run) if isinstance(spoil, Altered) else method
                change = spoil.spoil if isinstance(spoil, Altered) else spoil
                if change:
                    classes, evidence = change(classes, evidence, run)
                fitted = chosen.fit(Kit({"main": self.backbone}), classes, evidence, run)
                rows.append(
                    Outcome.of(fitted.scores(self.test.items, run), self.backbone, self.test.labels()).correct.astype(
                        np.float64
                    )
                )
            self.known[place] = np.stack(rows)
        return self.known[place]

    def evidence(self, shots: int, run: Run) -> Evidence[Any]:
        """Return the draw of one seed: the same for the system, its baselines and its control."""
        place = (shots, run.seed)
        if place not in self.drawn:
            drawn = episode(self.data, shots, run.integer("shots"), "full", self.backbone, run)
            self.failed |= {e.name: e.reason for e in drawn.failed}
            self.drawn[place] = Evidence(train=drawn.train, val=drawn.val)
        return self.drawn[place]
