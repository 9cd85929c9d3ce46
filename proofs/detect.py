"""Proofs of detectors: gains in image AUROC on labelled photos, and the same system with one thing spoiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, Run, Table, UsageError
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.detect import HALVES, AnomalyBench
from diptych.evaluation.datasets import DATA_SETS, known_set, open_set, thing_of
from diptych.evaluation.spoils import SpoilEvidence, as_subclass
from diptych.features.heads import text_head
from diptych.methods.detect.hyp_oc import HypOC
from diptych.methods.detect.winclip_style import FittedWinCLIPStyle, WinCLIPStyle, state_prompts
from proofs.trial import Claim, Trial


def open_bench(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, auxiliary: bool = False
) -> AnomalyBench:
    """Open normal and anomalous photos, and those of another thing to learn from; no photo is kept aside."""
    data, other = open_set(name, "anomalies"), None
    if auxiliary:
        known = known_set(name)
        if known is None or not known.auxiliary:
            others = " or ".join(s.name for s in DATA_SETS.values() if s.auxiliary)
            raise UsageError(f"There are no anomalies of another thing for {name}: choose {others}.")
        other = open_set(known.auxiliary, "anomalies").split("test")
    return AnomalyBench.open(data, backbone, run, seeds, thing=thing_of(name), rate=None, auxiliary=other)


def open_beside(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> AnomalyBench:
    """Open photos with those of another thing where one is known for them; claims on it name these sets."""
    known = known_set(name)
    return open_bench(name, backbone, run, seeds, auxiliary=bool(known and known.auxiliary))


@dataclass(frozen=True)
class MixedWords(WinCLIPStyle):
    """Draws the texts of both of its states from one bag."""

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedWinCLIPStyle:
        """Fit, and take another head."""
        normal, anomalous = state_prompts(self.thing, self.words)
        bag = [*normal, *anomalous]
        order = np.random.default_rng(run.integer("mixed words")).permutation(len(bag))
        halves = [[bag[i] for i in part] for part in np.array_split(order, 2)]
        fitted = super().fit(kit, evidence, run)
        return replace(fitted, head=text_head(kit.need(Backbone), halves, run), scales=())


@dataclass(frozen=True)
class ResampledNegatives(HypOC):
    """Has real features in place of pseudo-negatives, so that there is nothing to learn."""

    def negatives(self, mean: Tensor, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` of the features of all photos."""
        return features[torch.randint(len(features), (count,), generator=generator)]


def relabelled(change: Callable[[np.ndarray[Any, Any], Run], np.ndarray[Any, Any]]) -> SpoilEvidence:
    """Return what changes the auxiliary labels, and takes the masks away."""

    def spoil(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
        if evidence.auxiliary is None:
            raise UsageError("There are no auxiliary labels to change: this control needs an auxiliary data set.")
        columns = {k: c for k, c in evidence.auxiliary.columns.items() if c.kind != "mask"}
        columns["label"] = Column("label", change(evidence.auxiliary.labels(), run))
        return classes, replace(evidence, auxiliary=Table(evidence.auxiliary.items, columns))

    return spoil


def another_object(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Replace the normal photos by those of the auxiliary thing: what still stands out looks odd beside anything."""
    if evidence.auxiliary is None:
        raise UsageError("There are no photos of another thing to remember: this control needs an auxiliary data set.")
    normal = np.flatnonzero(evidence.auxiliary.labels() == 0).tolist()
    return classes, replace(evidence, train=evidence.auxiliary.take(normal))


swapped_labels = relabelled(lambda labels, run: 1 - labels)
random_labels = relabelled(lambda labels, run: np.random.default_rng(run.integer("labels")).permutation(labels))
_HALVES = (Claim(CHANCE, part=HALVES, name="two halves of normal photos"),)
ANOTHER = "normal photos of another thing"
"""The cheapest explanation of a ranking: what is damaged looks odd beside any photos."""


def _over_another(slug: str, on: tuple[str, ...] = ()) -> Claim:
    return Claim(ANOTHER, base=Arm(slug, spoil=another_object), on=on)


def _of_another(slug: str, on: tuple[str, ...] = ()) -> Mapping[str, Claim]:
    return {"of another thing, over chance": Claim(CHANCE, arm=Arm(slug, spoil=another_object), on=on)}


_BOTH = ("magnetic_tile_large", "textile_sim")
"""Sets for which photos of another thing are known."""

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "winclip-style": Trial(
            (Claim(CHANCE),),
            {"words of both states mixed": as_subclass(MixedWords)},
            controls=_HALVES,
            beside={"pair": Arm("winclip-style", "pair")},
        ),
        "feature-memory": Trial(
            (Claim(CHANCE), _over_another("feature-memory", _BOTH)),
            controls=_HALVES,
            beside={**_of_another("feature-memory", _BOTH), "gaussian": Arm("gaussian")},
            bench=open_beside,
        ),
        "patch-memory": Trial(
            (Claim(CHANCE),),
            {ANOTHER: another_object},
            controls=_HALVES,
            beside={
                "whole pictures": Arm("gaussian"),
                "upright": Arm("patch-memory", "upright"),
                "one photo": Arm("patch-memory", "one"),
                "feature-memory": Arm("feature-memory"),
            },
            bench=partial(open_bench, auxiliary=True),
        ),
        "gaussian": Trial(
            (Claim(CHANCE), _over_another("gaussian")),
            controls=_HALVES,
            beside=_of_another("gaussian"),
            bench=partial(open_bench, auxiliary=True),
        ),
        "hyp-oc": Trial(
            (Claim(CHANCE), _over_another("hyp-oc", _BOTH)),
            {"real features as pseudo-negatives": as_subclass(ResampledNegatives)},
            controls=_HALVES,
            beside={
                "euclidean twin": Arm("hyp-oc", "euclidean"),
                "gaussian": Arm("gaussian"),
                **_of_another("hyp-oc", _BOTH),
            },
            bench=open_beside,
        ),
        "anomalyclip": Trial(
            (Claim("winclip-style", 0, "pair"),),
            {"swapped labels": swapped_labels, "random labels, no masks": random_labels},
            controls=_HALVES,
            beside={"query-key stream": Arm("anomalyclip", "query-key"), "fixed ensemble": Arm("winclip-style")},
            bench=partial(open_bench, auxiliary=True),
        ),
    }
)
