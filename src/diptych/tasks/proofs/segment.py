"""Proofs of segmenters: gains in mIoU on photos with label maps, and the same system with its class names shuffled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import NotAvailable, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Segmenter
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.formats.semantic import read_semantic
from diptych.data.labelled import LabelledData
from diptych.data.templates import ENSEMBLE
from diptych.metrics.segmentation import chance, miou_bootstrap, miou_gain, pixel_accuracy
from diptych.tasks.proofs.classify import CHANCE, Claim, shuffled_names
from diptych.tasks.segment import counts

Stacked = NDArray[np.int64] | NDArray[np.float64]

VOID: Mapping[str, tuple[int, ...]] = MappingProxyType({"msrc_small": (0, 5, 8), "camvid_small": (11,)})
"""Values that do not count: void, and MSRC's horse and mountain, of which its source has too few regions to score."""


@dataclass(frozen=True)
class SegmentTrial:
    """The proof of one segmenter; its control has shuffled class names and must not beat chance.

    Args:
        claims: all must show; ``shots`` is 0.
        variant: row of the card that is proved.
    """

    claims: tuple[Claim, ...]
    variant: str = ""


TRIALS: Mapping[str, SegmentTrial] = MappingProxyType({"maskclip": SegmentTrial((Claim(CHANCE, 0),))})


def find_masks(name: str) -> LabelledData:
    """Open photos with label maps: a folder as ``read_semantic`` reads it, by path or by its name in the folder of DIPTYCH_DATA.

    Raises:
        NotAvailable: it is not there.
    """
    root = Path(name) if Path(name).exists() else Path(os.environ.get("DIPTYCH_DATA", "")) / name
    if not (root / "labels.csv").is_file():
        raise NotAvailable(
            f"The photos with label maps {name} are not here: set DIPTYCH_DATA to the folder that holds them, or give a path."
        )
    return read_semantic(root, VOID.get(root.name, ()))


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
    known: dict[tuple[str, str, bool], Stacked] = field(default_factory=dict)

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
            about = {"over": claim.over, "variant": claim.variant, "shots": 0, "gain": gain.value, "gain_lower95": gain.low}
            claims.append({**about, "method": _measured(own, seed), "baseline": _measured(base, seed), "shown": gain.low > 0})
        spoiled = self.counted(slug, trial.variant, spoiled=True)
        gain = miou_gain(spoiled, self.counted(CHANCE, ""), seed)
        about = {"over": CHANCE, "variant": None, "shots": 0, "gain": gain.value, "gain_lower95": gain.low}
        return {
            "data_hash": self._hash(),
            "split": self.split,
            "items": len(self.table),
            "classes": len(self.classes),
            "claims": claims,
            "controls": [{**about, "control": _measured(spoiled, seed), "failed": gain.low <= 0}],
            "beside": [],
        }

    def counted(self, slug: str, variant: str, *, spoiled: bool = False) -> Stacked:
        """Return (seeds, images, K, K) counts of a system, or those expected of chance."""
        place = (slug, variant, spoiled)
        if place not in self.known:
            if slug == CHANCE:
                self.known[place] = chance(next(iter(self.known.values())))
                return self.known[place]
            system = catalog.find(slug)
            if not issubclass(system, Segmenter):
                raise UsageError(f"{slug} is no segmenter.")
            method, rows = system(**system.card.variants[variant]), []
            for seed in self.seeds if spoiled or system.card.trains != "nothing" else self.seeds[:1]:
                run = replace(self.run, seed=seed)
                classes = shuffled_names(self.classes, Evidence(), run)[0] if spoiled else self.classes
                rows.append(counts(method.fit(Kit({"main": self.backbone}), classes, Evidence(), run), self.table, run))
            self.known[place] = np.stack(rows if len(rows) == len(self.seeds) else rows * len(self.seeds))
        return self.known[place]

    def _hash(self) -> str:
        digest = hashlib.sha256(self.data.hash.encode())
        for mask in self.table.columns["mask"].values:
            digest.update(np.ascontiguousarray(mask).tobytes())
        return digest.hexdigest()


def _measured(stacked: Stacked, seed: int) -> dict[str, Any]:
    found = miou_bootstrap(stacked, seed)
    return {"miou": found.value, "ci95": [found.low, found.high], "pixel_accuracy": float(pixel_accuracy(stacked.sum(1)).mean())}
