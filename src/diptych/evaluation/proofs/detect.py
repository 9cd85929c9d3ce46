"""Proofs of detectors: gains in image AUROC on labelled photos, and the same system with the one thing spoiled that it
lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import UsageError
from diptych.core.kit import Kit
from diptych.core.method import Detector, FittedDetector
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.evaluation.datasets import DATA_SETS, known_set, open_set, thing_of
from diptych.evaluation.proofs.classify import CHANCE, Claim
from diptych.metrics.detection import auroc_bootstrap, auroc_gain
from diptych.tasks.detect import Ranking, detector, rank

Fit = Callable[[Detector, Kit, Evidence[Any], Run], FittedDetector]


def honest(method: Detector, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDetector:
    """Fit a system as it is."""
    return method.fit(kit, evidence, run)


def mixed_words(method: Any, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDetector:
    """Fit WinCLIP-style and draw the texts of both of its states from one bag."""
    from diptych.features.heads import text_head
    from diptych.methods.detect.winclip_style import state_prompts

    normal, anomalous = state_prompts(method.thing, method.words)
    bag = [*normal, *anomalous]
    order = np.random.default_rng(run.integer("mixed words")).permutation(len(bag))
    halves = [[bag[i] for i in part] for part in np.array_split(order, 2)]
    fitted: Any = method.fit(kit, evidence, run)
    mixed: FittedDetector = replace(fitted, head=text_head(kit.need(Backbone), halves, run), scales=())
    return mixed


def resampled_negatives(method: Any, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDetector:
    """Fit Hyp-OC with real features in place of its pseudo-negatives."""
    fitted: FittedDetector = replace(method, negatives="resampled").fit(kit, evidence, run)
    return fitted


def relabelled(change: Callable[[np.ndarray[Any, Any], Run], np.ndarray[Any, Any]], *, masks: bool) -> Fit:
    """Return a fit whose auxiliary labels are changed; without ``masks`` it sees no mask either."""

    def fit(method: Detector, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDetector:
        if evidence.auxiliary is None:
            raise UsageError("There are no auxiliary labels to change: this control needs an auxiliary data set.")
        columns = {k: c for k, c in evidence.auxiliary.columns.items() if masks or c.kind != "mask"}
        columns["label"] = Column("label", change(evidence.auxiliary.labels(), run))
        return method.fit(kit, replace(evidence, auxiliary=Table(evidence.auxiliary.items, columns)), run)

    return fit


swapped_labels = relabelled(lambda labels, run: 1 - labels, masks=False)
random_labels = relabelled(
    lambda labels, run: np.random.default_rng(run.integer("labels")).permutation(labels), masks=False
)


@dataclass(frozen=True)
class DetectTrial:
    """The proof of one detector; beside its own controls, two halves of the normal photos must rank by chance.

    Args:
        claims: all must show; ``shots`` is 0.
        controls: name -> a fit that must not beat chance.
        variant: row of the card that is proved.
        beside: name -> (slug, row of its card) that is measured and reported, but need not be worse.
    """

    claims: tuple[Claim, ...]
    controls: Mapping[str, Fit] = field(default_factory=dict)
    variant: str = ""
    beside: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    metric: str = "image_auroc"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return hash, items, claims, controls and twins of one data set; see ``OwnTrial``."""
        bench = DetectBench(name, open_set(name, "anomalies"), backbone, run, seeds)
        seed, base = run.integer("bootstrap"), bench.chance()
        own = bench.ranked(slug, self.variant)
        claims = []
        for claim in self.claims:
            over = base if claim.over == CHANCE else bench.ranked(claim.over, claim.variant or "")
            gain = auroc_gain(_scores(own), _scores(over), own[0].labels, seed)
            about = {
                "over": claim.over,
                "variant": claim.variant,
                "shots": 0,
                "gain": gain.value,
                "gain_lower95": gain.low,
            }
            claims.append(
                {**about, "method": _measured(own, seed), "baseline": _measured(over, seed), "shown": gain.low > 0}
            )
        controls = []
        twins = {name: bench.ranked(slug, self.variant, fit) for name, fit in self.controls.items()}
        for kind, spoiled in {**twins, "two halves of normal photos": bench.halves(own)}.items():
            gain = auroc_gain(_scores(spoiled), np.zeros_like(_scores(spoiled)), spoiled[0].labels, seed)
            about = {
                "name": kind,
                "over": CHANCE,
                "variant": None,
                "shots": 0,
                "gain": gain.value,
                "gain_lower95": gain.low,
            }
            controls.append({**about, "control": _measured(spoiled, seed), "failed": gain.low <= 0})
        beside = []
        for kind, (other, variant) in self.beside.items():
            twin = bench.ranked(other, variant)
            gain = auroc_gain(_scores(own), _scores(twin), own[0].labels, seed)
            about = {"name": kind, "shots": 0, "gain": gain.value, "gain_lower95": gain.low}
            beside.append({**about, "twin": _measured(twin, seed)})
        facts = {
            "data_hash": bench.data.hash,
            "split": "test",
            "items": len(own[0].labels),
            "normal": len(bench.data.split("train")),
        }
        return {**facts, "claims": claims, "controls": controls, "beside": beside}


@dataclass
class DetectBench:
    """One data set, and how each system ranked it."""

    name: str
    data: LabelledData
    backbone: Backbone
    run: Run
    seeds: Sequence[int]
    known: dict[tuple[str, str, Fit], list[Ranking]] = field(default_factory=dict)

    def ranked(self, slug: str, variant: str, fit: Fit = honest) -> list[Ranking]:
        """Return one ranking a seed; systems without chance are run once."""
        place = (slug, variant, fit)
        if place not in self.known:
            method = detector(slug, variant, thing_of(self.name))
            rows = []
            for seed in self.seeds if fit is not honest or draws(method) else self.seeds[:1]:
                run = replace(self.run, seed=seed)
                fitted = fit(method, Kit({"main": self.backbone}), self.evidence(method), run)
                found = rank(fitted, self.data.split("test"), run)
                # Controls are judged by images alone: millions of pixels need not be sorted for each of them.
                rows.append(found if fit is honest else Ranking(found.scores, found.labels))
            self.known[place] = rows if len(rows) == len(self.seeds) else rows * len(self.seeds)
        return self.known[place]

    def evidence(self, method: Detector) -> Evidence[Any]:
        """Return the normal photos of train, and the test split of another thing for systems that learn from
        anomalies.
        """
        auxiliary = None
        if "auxiliary" in method.card.needs.evidence:
            known = known_set(self.name)
            if known is None or not known.auxiliary:
                others = " or ".join(s.name for s in DATA_SETS.values() if s.auxiliary)
                raise UsageError(f"There are no anomalies of another thing for {self.name}: choose {others}.")
            auxiliary = open_set(known.auxiliary, "anomalies").split("test")
        return Evidence(train=self.data.split("train"), auxiliary=auxiliary)

    def chance(self) -> list[Ranking]:
        """Return the ranking in which all are equal."""
        labels = self.data.split("test").labels() != 0
        return [Ranking(np.zeros(len(labels)), labels)] * len(self.seeds)

    def halves(self, ranked: Sequence[Ranking]) -> list[Ranking]:
        """Return rankings of the normal test photos alone, a random half of which is called anomalous."""
        normal = np.flatnonzero(~ranked[0].labels)
        labels = np.random.default_rng(self.run.integer("halves")).permutation(len(normal)) < len(normal) // 2
        return [Ranking(r.scores[normal], labels) for r in ranked]


def draws(method: Detector) -> bool:
    """Whether the seed changes a fitted detector."""
    return method.card.trains != "nothing" or method.card.slug == "feature-memory"


def _scores(ranked: Sequence[Ranking]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([r.scores for r in ranked])


def _measured(ranked: Sequence[Ranking], seed: int) -> dict[str, Any]:
    """Return every metric averaged over seeds, and the interval of image AUROC."""
    rows = [r.metrics for r in ranked]
    found = auroc_bootstrap(_scores(ranked), ranked[0].labels, seed)
    return {**{name: float(np.mean([row[name] for row in rows])) for name in rows[0]}, "ci95": [found.low, found.high]}


TRIALS: Mapping[str, DetectTrial] = MappingProxyType(
    {
        "winclip-style": DetectTrial(
            (Claim(CHANCE, 0),), {"words of both states mixed": mixed_words}, beside={"pair": ("winclip-style", "pair")}
        ),
        "feature-memory": DetectTrial((Claim(CHANCE, 0),)),
        "gaussian": DetectTrial((Claim(CHANCE, 0),)),
        "hyp-oc": DetectTrial(
            (Claim(CHANCE, 0),),
            {"real features as pseudo-negatives": resampled_negatives},
            beside={"euclidean twin": ("hyp-oc", "euclidean"), "gaussian": ("gaussian", "")},
        ),
        "anomalyclip": DetectTrial(
            (Claim("winclip-style", 0, "pair"),),
            {"swapped labels": swapped_labels, "random labels, no masks": random_labels},
            beside={"query-key stream": ("anomalyclip", "query-key"), "fixed ensemble": ("winclip-style", "")},
        ),
    }
)
