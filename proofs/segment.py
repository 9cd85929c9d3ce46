"""Proofs of segmenters: gains in mIoU on photos with label maps, and the same system with one thing spoiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, Run, Samples, Space, Table
from diptych.evaluation.arms import CHANCE
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import few, open_set
from diptych.evaluation.spoils import as_subclass, shuffled_names
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser, FittedCLIPDINOiser
from diptych.methods.segment.trident import FittedTrident, Trident
from proofs.benches.attentive_patches import SCLIP_TRIAL
from proofs.benches.masked_regions import OVSEG
from proofs.benches.segment_unseen import FC_CLIP, MAFT_PLUS
from proofs.benches.training.merged_models import SAMCLIP_TRIAL
from proofs.trial import Claim, Trial


def open_bench(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open photos with label maps by path or by name."""
    return MaskBench(open_set(name, "masks"), backbone, run, seeds)


def open_few(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open at most ``FEW`` of the measured photos, those whose content keys have the least hashes."""
    data = open_set(name, "masks")
    split = "test" if "test" in data.splits else "val"
    return MaskBench(replace(data, splits={split: few(data.split(split), FEW)}), backbone, run, seeds)


FEW = 24
"""Photos of a data set on which systems of a second a photo are proved."""


@dataclass(frozen=True)
class ShuffledRows(Trident):
    """The rows of M are those of other cells: as smooth, and every cell gets another's mean.

    The catalogue's control.
    """

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedTrident:
        """Fit as ever, and shuffle the rows of what aggregates."""
        return _OtherRows(**vars(super().fit(kit, classes, evidence, run)), order=run.integer("trident order"))


@dataclass(frozen=True)
class _OtherRows(FittedTrident):
    """Rows of M shuffled over cells; ``order`` is the seed of the shuffle."""

    order: int = 0

    def aggregated(self, image: Any, canvas: Tensor, run: Run) -> Tensor:
        """Return M U with the rows of M in another order."""
        f = super().aggregated(image, canvas, run)
        order = torch.randperm(f.shape[1] * f.shape[2], generator=torch.Generator().manual_seed(self.order)).to(
            f.device
        )
        return f.flatten(1)[:, order].reshape(f.shape)


@dataclass(frozen=True)
class ShuffledAffinity(CLIPDINOiser):
    """Each affinity is another patch's: as many neighbours, with the same weights, and none of them near.

    The catalogue's control.
    """

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCLIPDINOiser:
        """Train as ever, and shuffle the affinities of what was fitted."""
        order = run.integer("clip-dinoiser order")
        return _Shuffled(**vars(super().fit(kit, classes, evidence, run)), order=order)


@dataclass(frozen=True)
class _Shuffled(FittedCLIPDINOiser):
    """Affinities shuffled over patches; ``order`` is the seed of the shuffle."""

    order: int = 0

    def affinity(self, g: Tensor) -> Tensor:
        """Return (B, n, n), with rows and columns in another order."""
        a = super().affinity(g)
        order = torch.randperm(a.shape[1], generator=torch.Generator().manual_seed(self.order)).to(a.device)
        return a[:, order][:, :, order]


@dataclass(frozen=True)
class OtherTargets(CLIPDINOiser):
    """The teacher's output is that for another photo.

    What is left is what the layer of CLIP itself, and the shape of all photos, give an affinity.
    """

    def _lesson(self, backbone: Backbone, teacher: Space, photos: Samples[Any], run: Run) -> Table[Any]:
        lesson = super()._lesson(backbone, teacher, photos, run)
        moved = {name: Column(c.kind, [*c.values[1:], c.values[0]]) for name, c in lesson.columns.items()}
        return Table(lesson.items, moved)


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "trident": Trial(
            (Claim("trident", variant="scores"), Claim("trident", variant="no aggregation")),
            as_subclass(ShuffledRows),
            "trident",
            control_variant="no aggregation",
            beside={"maskclip": Claim("maskclip")},
            bench=open_few,
        ),
        "maskclip": Trial((Claim(CHANCE),), shuffled_names),
        "sclip": SCLIP_TRIAL,
        "ovseg": OVSEG,
        "sam-clip": SAMCLIP_TRIAL,
        "clip-dinoiser": Trial(
            (Claim("maskclip"),),
            as_subclass(ShuffledAffinity),
            "maskclip",
            beside={"another photo's targets": as_subclass(OtherTargets)},
        ),
        "fc-clip": FC_CLIP,
        "maft-plus": MAFT_PLUS,
    }
)
