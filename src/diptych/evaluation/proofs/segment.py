"""Proofs of segmenters: gains in mIoU on photos with label maps, and the same system with the one thing spoiled that it
lives on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from diptych.core.backbone import Backbone, Space
from diptych.core.data import ClassNames, Column, Evidence, Samples, Table
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.evaluation.arms import CHANCE
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import open_set
from diptych.evaluation.proofs.trial import Claim, Trial
from diptych.evaluation.spoils import as_subclass, shuffled_names
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser, FittedCLIPDINOiser


def open_bench(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open photos with label maps by path or by name."""
    return MaskBench(open_set(name, "masks"), backbone, run, seeds)


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
        "maskclip": Trial((Claim(CHANCE),), shuffled_names),
        "clip-dinoiser": Trial(
            (Claim("maskclip"),),
            as_subclass(ShuffledAffinity),
            "maskclip",
            beside={"another photo's targets": as_subclass(OtherTargets)},
        ),
    }
)
