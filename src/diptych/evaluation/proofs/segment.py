"""Proofs of segmenters: gains in mIoU on photos with label maps, and the same system with the one thing spoiled that it
lives on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Table
from diptych.core.errors import UsageError
from diptych.core.method import Segmenter
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.data.templates import ENSEMBLE
from diptych.evaluation.datasets import unlabelled_photos
from diptych.evaluation.proofs.classify import CHANCE, Altered, Claim, Spoil
from diptych.evaluation.proofs.texts import shuffled_names
from diptych.metrics.segmentation import chance, miou_bootstrap, miou_gain, pixel_accuracy
from diptych.tasks.segment import counts, teach

Stacked = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class SegmentTrial:
    """The proof of one segmenter.

    Args:
        claims: all must show; ``shots`` is 0.
        variant: row of the card that is proved.
        spoil: makes the control's names, or its system, from the honest ones.
        control_over: slug, or ``CHANCE``: what the control must not beat.
        beside: name -> a twin that is measured and reported, but need not fail.
    """

    claims: tuple[Claim, ...]
    variant: str = ""
    spoil: Spoil = shuffled_names
    control_over: str = CHANCE
    beside: Mapping[str, Spoil] = field(default_factory=dict)


AFFINITY_DEALT = Altered(lambda method, run: replace(method, spoiled="affinity"))
"""Each affinity is another patch's: as many neighbours, with the same weights, and none of them near. The catalogue's
control.
"""
TAUGHT_ANOTHERS = Altered(lambda method, run: replace(method, spoiled="targets"))
"""The teacher speaks of another photo: what is left is what the layer of CLIP itself, and the shape of all photos, give
an affinity.
"""

TRIALS: Mapping[str, SegmentTrial] = MappingProxyType(
    {
        "maskclip": SegmentTrial((Claim(CHANCE, 0),)),
        "clip-dinoiser": SegmentTrial(
            (Claim("maskclip", 0),),
            spoil=AFFINITY_DEALT,
            control_over="maskclip",
            beside={"another photo's targets": TAUGHT_ANOTHERS},
        ),
    }
)


@dataclass
class SegmentBench:
    """One data set, and the pixels that each system counted on it."""

    data: LabelledData
    table: Table[Any]
    split: str
    classes: ClassNames
    backbone: Backbone
    run: Run
    seeds: Sequence[int]
    known: dict[tuple[str, str, Spoil | None], Stacked] = field(default_factory=dict)

    @classmethod
    def open(cls, data: LabelledData, backbone: Backbone, run: Run, seeds: Sequence[int]) -> SegmentBench:
        """Take the test split, or else val."""
        split = "test" if "test" in data.splits else "val"
        classes = ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
        return cls(data, data.split(split), split, classes, backbone, run, seeds)

    def verdict(self, slug: str, trial: SegmentTrial) -> dict[str, Any]:
        """Return hash, items, claims and controls of this data set."""
        seed = self.run.integer("bootstrap")
        own = self.counted(slug, trial.variant)
        claims = []
        for claim in trial.claims:
            base = self.counted(claim.over, claim.variant or "")
            gain = miou_gain(own, base, seed)
            about = {
                "over": claim.over,
                "variant": claim.variant,
                "shots": 0,
                "gain": gain.value,
                "gain_lower95": gain.low,
            }
            claims.append(
                {**about, "method": _measured(own, seed), "baseline": _measured(base, seed), "shown": gain.low > 0}
            )
        spoiled = self.counted(slug, trial.variant, trial.spoil)
        gain = miou_gain(spoiled, self.counted(trial.control_over, ""), seed)
        about = {"over": trial.control_over, "variant": None, "shots": 0, "gain": gain.value, "gain_lower95": gain.low}
        control = {**about, "control": _measured(spoiled, seed), "failed": gain.low <= 0}
        beside = []
        for name, spoil in trial.beside.items():
            twin = self.counted(slug, trial.variant, spoil)
            gain = miou_gain(own, twin, seed)
            beside.append(
                {"name": name, "shots": 0, "twin": _measured(twin, seed), "gain": gain.value, "gain_lower95": gain.low}
            )
        return {
            "data_hash": self.digest(),
            "split": self.split,
            "items": len(self.table),
            "classes": len(self.classes),
            "claims": claims,
            "controls": [control],
            "beside": beside,
        }

    def counted(self, slug: str, variant: str, spoil: Spoil | None = None) -> Stacked:
        """Return (seeds, images, K, K) counts of a system, or those expected of chance."""
        place = (slug, variant, spoil)
        if place not in self.known:
            if slug == CHANCE:
                self.known[place] = chance(next(iter(self.known.values())))
                return self.known[place]
            system = catalog.find(slug)
            if not issubclass(system, Segmenter):
                raise UsageError(f"{slug} is no segmenter.")
            method, rows = system(**system.card.variants[variant]), []
            kit, given = teach(system, self.backbone, unlabelled_photos)
            for seed in self.seeds if spoil or system.card.trains != "nothing" else self.seeds[:1]:
                run = replace(self.run, seed=seed)
                chosen: Any = spoil.change(method, run) if isinstance(spoil, Altered) else method
                change = spoil.spoil if isinstance(spoil, Altered) else spoil
                classes, evidence = change(self.classes, given, run) if change else (self.classes, given)
                rows.append(counts(chosen.fit(kit, classes, evidence, run), self.table, run))
            self.known[place] = np.stack(rows if len(rows) == len(self.seeds) else rows * len(self.seeds))
        return self.known[place]

    def digest(self) -> str:
        """Return the hash of photos, classes and masks."""
        digest = hashlib.sha256(self.data.hash.encode())
        for mask in self.table.columns["mask"].values:
            digest.update(np.ascontiguousarray(mask).tobytes())
        return digest.hexdigest()


def _measured(stacked: Stacked, seed: int) -> dict[str, Any]:
    found = miou_bootstrap(stacked, seed)
    return {
        "miou": found.value,
        "ci95": [found.low, found.high],
        "pixel_accuracy": float(pixel_accuracy(stacked.sum(1)).mean()),
    }
