"""The bench of SCLIP: patches that attend to others against patches alone, at the same windows.

Photos are named by the backbone that is asked for. ``lite`` has no attention, so scenes of painted shapes, of which
``tiny`` knows the names, show what the attention of a ViT does.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.core import Backbone, ClassNames, Column, Run, Table
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData
from diptych.data.scenes.compose import Scenes
from diptych.data.scenes.sprites import SHAPES
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import Arm, Measured
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import open_set
from diptych.evaluation.spoils import Altered, as_subclass
from diptych.methods.segment.sclip import SCLIP, WINDOWS
from diptych.nn.dense.label_maps import Windows
from proofs.benches.masked_regions import SCENES, SHOWN, SIDE, label_map
from proofs.trial import Claim, Trial


@dataclass
class PatchBench(MaskBench):
    """Pictures with label maps, on which every system has the same windows, and none draws anything."""

    windows: Windows = WINDOWS

    @property
    def facts(self) -> Mapping[str, Any]:
        """As of any photos with label maps, and the backbone, where the bench has its own."""
        own = self.backbone.spec.name
        return {**super().facts, **({"backbone": own} if self.data.name == "scenes" else {})}

    def measure(self, arm: Arm) -> Measured:
        """Measure one seed, which stands for all."""
        change = arm.spoil.change if arm.spoil else lambda system, run: system
        cut = Altered(lambda system, run: replace(change(system, run), windows=self.windows))
        once = copy(self)
        once.seeds = self.seeds[:1]
        found = MaskBench.measure(once, replace(arm, spoil=cut))
        return replace(found, values=np.repeat(found.values, len(self.seeds), axis=0))


def open_patches(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, most: int | None = None
) -> PatchBench:
    """Open photos with label maps, or "scenes", whose backbone is ``tiny``; of these at most ``most``."""
    if name != "scenes":
        return PatchBench(open_set(name, "masks"), backbone, run, seeds, most=most)
    shown = Scenes(SCENES, most or SHOWN, 0)
    masks = Column("mask", Masks(tuple(range(len(shown))), lambda i: label_map(shown, i)))
    data = LabelledData("scenes", SHAPES, {"test": Table(Pictures(shown), {"mask": masks})})
    names = ClassNames(SHAPES, ("a photo of a {}.",))
    return PatchBench(data, load("tiny"), run, seeds, names, windows=Windows(SIDE, SIDE, SIDE))


@dataclass(frozen=True)
class Uniform(SCLIP):
    """Each patch attends to all alike, with rows that sum to 2: what the mean of a window explains."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the mean of the values."""
        return 2 * v.mean(2, keepdim=True).expand_as(v)


@dataclass(frozen=True)
class Neighbours(SCLIP):
    """Each patch of a square window attends to itself and its eight neighbours alike: what a smooth map explains."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the mean of the values round each patch; tokens before the patches keep their own."""
        side = isqrt(v.shape[2])
        prefix, patches = torch.split(v, [v.shape[2] - side**2, side**2], dim=2)
        planes = torch.unflatten(patches.mT.flatten(0, 1), 2, (side, side))
        smooth = F.avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=False)
        return 2 * torch.cat([prefix, smooth.flatten(2).reshape(patches.mT.shape).mT], dim=2)


@dataclass(frozen=True)
class Itself(SCLIP):
    """Each patch attends to itself, with rows that sum to 2: what a larger share of the attention explains.

    Without a tower, and so without a residual, it is MaskCLIP.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the values."""
        return 2 * v


_VIT = ("scenes",)
SCLIP_TRIAL = Trial(
    (Claim("maskclip"),),
    {"all alike": as_subclass(Uniform), "neighbours": as_subclass(Neighbours)},
    "maskclip",
    beside={"plain patch tokens": Claim("maskclip", variant="tokens", on=_VIT)},
    controls=(Claim("maskclip", own=Arm("sclip", spoil=as_subclass(Itself)), on=_VIT, name="itself"),),
    bench=open_patches,
)
"""The proof."""
